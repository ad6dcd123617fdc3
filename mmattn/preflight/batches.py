"""Batches of a training: their size beside the number of images, and what is drawn for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmattn.config.walk import walk
from mmattn.errors import ConfigError
from mmattn.type_names import bare_name

#: Wrappers that change nothing about the number of images.
_SAME_LENGTH = ("MultiImageMixDataset", "SeededDataset")


def check_batches(cfg: Mapping[str, Any], images: Mapping[str, int]) -> str | None:
    """Compare the training's batch size with its data.

    Args:
        cfg: The whole config.
        images: Key of each innermost dataset -> number of its images.

    Returns:
        A warning where one batch would hold an image several times, or be smaller than asked for.

    Raises:
        ConfigError: No batch would be left, because incomplete ones are dropped.
    """
    loader = cfg.get("train_dataloader") or {}
    size = loader.get("batch_size")
    count = _length(loader.get("dataset"), "train_dataloader.dataset", images)
    if not isinstance(size, int) or count is None or size <= count:
        return None
    fact = (
        f"train_dataloader.batch_size={size}, but train_dataloader.dataset has only {count} "
        f"image{'' if count == 1 else 's'}"
    )
    fix = f"Set train_dataloader.batch_size={count} or less"
    if bare_name((loader.get("sampler") or {}).get("type")) in ("InfiniteSampler",):
        return f"{fact}: every batch holds images more than once. {fix}"
    if loader.get("drop_last") or (loader.get("batch_sampler") or {}).get("drop_last"):
        raise ConfigError(
            f"{fact}, and incomplete batches are dropped (drop_last), so there would be no step at "
            f"all. {fix}, or drop_last=False"
        )
    return f"{fact}: each epoch is a single, smaller batch. {fix}"


def repeated_draws(cfg: Mapping[str, Any]) -> str | None:
    """Return a warning where every epoch draws the same random numbers for its images.

    mmengine seeds each process that loads data with the seed of the run and its number, and
    without ``persistent_workers`` an epoch starts new ones. So its n-th image is cropped and
    flipped as the n-th one of every other epoch, and is joined with the same images in a mosaic.

    Args:
        cfg: The whole config.
    """
    loader = cfg.get("train_dataloader") or {}
    train = cfg.get("train_cfg") or {}
    loop = bare_name(train.get("type"))
    by_epoch = train.get("by_epoch", not loop or loop == "EpochBasedTrainLoop")
    datasets = [value for path, value in walk(loader.get("dataset")) if path.endswith("type")]
    if (
        not by_epoch
        or not loader.get("num_workers")
        or loader.get("persistent_workers")
        or loader.get("worker_init_fn")
        or any(bare_name(value) == "SeededDataset" for value in datasets)
    ):
        return None
    return (
        "train_dataloader.persistent_workers is not set: every epoch starts its "
        f"{loader['num_workers']} processes anew, and mmengine seeds them alike, so that all "
        "epochs draw the same random numbers for crops, flips and mosaics. Set "
        "train_dataloader.persistent_workers=True"
    )


def _length(dataset: Any, where: str, images: Mapping[str, int]) -> int | None:
    """Return the length of a dataset with its wrappers; None where it is not known."""
    if not isinstance(dataset, Mapping):
        return None
    name = bare_name(dataset.get("type"))
    if dataset.get("datasets"):
        parts = [
            _length(inner, f"{where}.datasets[{index}]", images)
            for index, inner in enumerate(dataset["datasets"])
        ]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) and name == "ConcatDataset" else None
    if isinstance(dataset.get("dataset"), Mapping):
        inner = _length(dataset["dataset"], f"{where}.dataset", images)
        if inner is not None and name == "RepeatDataset":
            return inner * int(dataset.get("times", 1))
        return inner if name in _SAME_LENGTH else None
    return images.get(where)
