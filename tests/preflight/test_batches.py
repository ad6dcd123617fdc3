"""A batch larger than the training set is told before the training."""

from __future__ import annotations

import pytest

from mmattn.errors import ConfigError
from mmattn.preflight.batches import check_batches, repeated_draws

LEAF = {"type": "CocoDataset"}


def config(size: int, dataset: dict = LEAF, sampler: str = "DefaultSampler", **loader) -> dict:
    loader = {"batch_size": size, "dataset": dataset, "sampler": {"type": sampler}, **loader}
    return {"train_dataloader": loader}


def images(count: int, inside: str = "") -> dict[str, int]:
    return {f"train_dataloader.dataset{inside}": count}


@pytest.mark.parametrize(
    "loader",
    [
        {"drop_last": True},
        {"batch_sampler": {"type": "AspectRatioBatchSampler", "drop_last": True}},
    ],
)
def test_no_batch_would_be_left(loader: dict) -> None:
    with pytest.raises(
        ConfigError, match=r"batch_size=8, but .* has only 5 images, and incomplete"
    ):
        check_batches(config(8, **loader), images(5))


@pytest.mark.parametrize(
    ("sampler", "said"),
    [("InfiniteSampler", "images more than once"), ("DefaultSampler", "a single, smaller batch")],
)
def test_a_batch_that_cannot_be_filled_is_a_warning(sampler: str, said: str) -> None:
    warning = check_batches(config(8, sampler=sampler), images(5)) or ""
    assert "train_dataloader.batch_size=8" in warning and "only 5 images" in warning
    assert said in warning and "\n" not in warning
    assert "Set train_dataloader.batch_size=5 or less" in warning


def test_wrappers_are_counted_through() -> None:
    repeated = {"type": "RepeatDataset", "times": 3, "dataset": LEAF}
    assert check_batches(config(8, repeated), images(3, ".dataset")) is None
    assert "only 6 images" in (check_batches(config(8, repeated), images(2, ".dataset")) or "")
    joined = {"type": "ConcatDataset", "datasets": [LEAF, LEAF]}
    counts = images(4, ".datasets[0]") | images(3, ".datasets[1]")
    assert "only 7 images" in (check_batches(config(8, joined), counts) or "")
    mixed = {"type": "MultiImageMixDataset", "dataset": LEAF, "pipeline": []}
    assert "only 7 images" in (check_batches(config(8, mixed), images(7, ".dataset")) or "")


@pytest.mark.parametrize("dataset", [LEAF, {"type": "ClassBalancedDataset", "dataset": LEAF}, None])
def test_what_fits_or_is_not_known_passes(dataset: dict | None) -> None:
    assert check_batches(config(8, dataset), {}) is None
    assert check_batches(config(8, dataset), images(8)) is None


def test_epochs_that_draw_the_same_random_numbers_are_told() -> None:
    """The numbers are compared where they are drawn: in new processes of mmengine's seeding."""
    from functools import partial

    import numpy as np
    from mmengine.dataset import worker_init_fn
    from torch.utils.data import DataLoader

    class Drawing:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> int:
            return int(np.random.randint(0, 10**6))

    for lasting in (False, True):
        seeding = partial(worker_init_fn, num_workers=1, rank=0, seed=0)
        loader = DataLoader(
            Drawing(), 4, num_workers=1, persistent_workers=lasting, worker_init_fn=seeding
        )
        first, second = ([batch.tolist() for batch in loader] for _ in range(2))
        cfg = config(4, num_workers=1, persistent_workers=lasting) | {
            "train_cfg": {"max_epochs": 2}
        }
        assert (repeated_draws(cfg) is not None) == (first == second)


@pytest.mark.parametrize(
    ("loader", "train_cfg"),
    [
        ({"num_workers": 0}, {"by_epoch": True}),
        ({"num_workers": 2}, {"type": "IterBasedTrainLoop", "max_iters": 9}),
        ({"num_workers": 2}, {"by_epoch": False}),
        ({"num_workers": 2, "worker_init_fn": {"type": "mine"}}, {"by_epoch": True}),
        ({"num_workers": 2, "dataset": {"type": "mmattn.SeededDataset", "dataset": LEAF}}, {}),
    ],
)
def test_epochs_with_numbers_of_their_own_are_not_told(loader: dict, train_cfg: dict) -> None:
    assert repeated_draws(config(4) | {"train_dataloader": loader, "train_cfg": train_cfg}) is None
