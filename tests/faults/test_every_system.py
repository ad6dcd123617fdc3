"""Promise: every system learns from, and predicts on, whatever a batch holds, down to nothing.

By default one step of each system from images that hold nothing; ``-m slow`` has the rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmattn.engine.few_values import explain_few_values
from mmattn.errors import ConfigError
from tests.support.block_table import blocks
from tests.support.poison import differences
from tests.support.systems import BLOCKS, SEG, SYSTEMS, build_system, labelled_batch

#: Primes and other odd numbers, not square, the sides of a single pixel.
SIZES = [
    (1, 1),
    (1, 97),
    (97, 1),
    (2, 3),
    (7, 5),
    (13, 29),
    (31, 33),
    (47, 17),
    (61, 97),
    (97, 97),
]
#: Which of two images hold nothing.
EMPTY = {"none": (), "one": (0,), "all": (0, 1)}
_count = itertools.count()
slow = pytest.mark.slow


def loss_of(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """The loss of a batch in training."""
    # mmdet's random sizes depend on the number of the step.
    MessageHub.get_current_instance().update_info("iter", 0)
    model.train()
    losses = model(**model.data_preprocessor(batch, True), mode="loss")
    return model.parse_losses(losses)[0]


def check_gradients(model: Any, loss: torch.Tensor) -> None:
    """The loss is finite, and each parameter that is to learn has a finite gradient."""
    assert torch.isfinite(loss).all(), loss
    loss.backward()
    learning = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert learning
    assert [name for name, grad in learning.items() if grad is None] == []
    assert [name for name, grad in learning.items() if not torch.isfinite(grad).all()] == []


def test_every_project_and_block_is_here(repo: Path) -> None:
    projects = {entry.name for entry in (repo / "projects").iterdir() if entry.is_dir()}
    named = {"_".join(name.partition(",")[0].lower().split()) for name in SYSTEMS}
    assert projects - {"blocks", "__pycache__"} <= named
    assert BLOCKS.keys() == blocks().keys()


# --- nothing in the images -----------------------------------------------------------------------


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_step_on_nothing(system: str) -> None:
    """A process whose images hold nothing must have a gradient of every parameter all the same:
    the others wait for it (``find_unused_parameters=False``).
    """
    scope, model = build_system(system)
    batch = labelled_batch(scope, [(64, 64)] * 2, EMPTY["all"])
    check_gradients(model, loss_of(model, batch))


@slow
@pytest.mark.parametrize("which", ["none", "one"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_step_on_objects(system: str, which: str) -> None:
    scope, model = build_system(system)
    batch = labelled_batch(scope, [(64, 64)] * 2, EMPTY[which])
    loss = loss_of(model, batch)
    assert loss > 0
    check_gradients(model, loss)


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """A group of this process alone; its gradients are gathered as those of many are."""
    dist.init_process_group("gloo", f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@slow
@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("system", SYSTEMS)
def test_distributed_steps_without_a_search_for_unused_parameters(system: str) -> None:
    """Each step would fail if a parameter had no gradient in the one before, or two."""
    scope, model = build_system(system)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), 1e-3))
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
    MessageHub.get_current_instance().update_info("iter", 0)
    for which in ("none", "one", "all", "none"):
        logged = wrapped.train_step(labelled_batch(scope, [(64, 64)] * 2, EMPTY[which]), wrapper)
        assert torch.isfinite(logged["loss"])


# --- sizes ---------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def built(system: str) -> tuple[str, Any]:
    """The system of the last test, used again: weights and statistics stay finite."""
    return build_system(system)


def size_cases() -> list[Any]:
    """Each size for each system; by default the smallest one for the light hosts."""
    return [
        pytest.param(system, size, marks=() if default else slow,
                     id=f"{system}-{size[0]}x{size[1]}")
        for system in SYSTEMS for size in SIZES
        for default in [size == (1, 1) and system in ("FCN", "CCNet", "RetinaNet")]
    ]  # fmt: skip


@pytest.mark.parametrize(("system", "size"), size_cases())
def test_predicts_at_any_size(system: str, size: tuple[int, int]) -> None:
    scope, model = built(system)
    model.eval()
    batch = labelled_batch(scope, [size])
    with torch.no_grad():
        found = model(**model.data_preprocessor(batch, False), mode="predict")
    (sample,) = found
    if scope == SEG:
        assert sample.pred_sem_seg.data.shape == (1, *size)
        if "seg_logits" in sample:  # an argmax of nan is a class, too
            assert torch.isfinite(sample.seg_logits.data).all()
    elif "pred_panoptic_seg" in sample:
        assert sample.pred_panoptic_seg.sem_seg.shape[-2:] == size
    else:
        boxes = sample.pred_instances.bboxes
        limit = boxes.new_tensor([size[1], size[0]] * 2)
        assert ((boxes >= 0) & (boxes <= limit)).all()  # and none is nan
        assert torch.isfinite(sample.pred_instances.scores).all()
        if "masks" in sample.pred_instances:
            assert sample.pred_instances.masks.shape[-2:] == size


@pytest.mark.parametrize(("system", "size"), size_cases())
def test_learns_at_any_size(system: str, size: tuple[int, int]) -> None:
    """Label maps in crops of that size; images with objects beside one that lies the other way."""
    scope, model = built(system)
    model.zero_grad()
    sizes = [size, size]
    if scope == SEG:
        model.data_preprocessor.size = size
    else:
        sizes = [size, size[::-1]]
    check_gradients(model, loss_of(model, labelled_batch(scope, sizes)))


@slow
@pytest.mark.parametrize("size", [(1, 1), (33, 31)], ids=["1x1", "33x31"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_learns_from_one_small_image_or_says_what_to_set(system: str, size) -> None:
    scope, model = built(system)
    model.zero_grad()
    if scope == SEG:
        model.data_preprocessor.size = size
    try:
        with explain_few_values():
            loss = loss_of(model, labelled_batch(scope, [size]))
    except ConfigError as error:
        assert "train_dataloader.batch_size to 2 or more" in str(error)
    else:
        check_gradients(model, loss)


def test_a_norm_of_one_value_names_the_setting() -> None:
    norm = torch.nn.BatchNorm2d(4)
    with (
        pytest.raises(
            ConfigError, match=r"input is torch.Size\(\[1, 4, 1, 1\]\)\): too few images"
        ),
        explain_few_values(),
    ):
        norm(torch.zeros(1, 4, 1, 1))
    with pytest.raises(ValueError, match="of its own") as error, explain_few_values():
        raise ValueError("of its own")
    assert not isinstance(error.value, ConfigError)


# --- the same numbers again ----------------------------------------------------------------------


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Back to torch's defaults behind a deterministic run."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


class Batches(torch.utils.data.Dataset):
    """Three times the same two scenes."""

    metainfo: dict = {}

    def __init__(self, scope: str) -> None:
        batch = labelled_batch(scope, [(64, 64), (64, 64)])
        self.pairs = list(zip(batch["inputs"], batch["data_samples"], strict=True))

    def __len__(self) -> int:
        return 3 * len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, sample = self.pairs[index % len(self.pairs)]
        return {"inputs": image.clone(), "data_samples": sample.clone()}


def trained_weights(system: str, folder: Path) -> dict[str, torch.Tensor]:
    """Weights and buffers after three steps of a run with ``randomness.deterministic=True``."""
    scope, network = build_system(system)
    runner = Runner(
        model=network,
        work_dir=str(folder),
        train_dataloader=DataLoader(Batches(scope), batch_size=2, collate_fn=pseudo_collate),
        train_cfg={"type": "IterBasedTrainLoop", "max_iters": 3},
        optim_wrapper={"optimizer": {"type": "AdamW", "lr": 1e-3}},
        default_hooks={"checkpoint": None, "logger": None},
        default_scope=scope,
        log_level="ERROR",
        randomness={"seed": 7, "deterministic": True},
        experiment_name=f"every_system_{next(_count)}",
    )
    runner.train()
    return network.state_dict()


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize(
    "system", [pytest.param(s, marks=() if s == "CCNet" else slow) for s in SYSTEMS]
)
def test_two_deterministic_runs_are_the_same_to_the_bit(system: str, tmp_path: Path) -> None:
    first, second = (trained_weights(system, tmp_path / name) for name in "ab")
    _, network = build_system(system)
    assert differences(network.state_dict(), first) != []
    assert differences(first, second) == []
