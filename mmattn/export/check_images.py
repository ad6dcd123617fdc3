"""Images to check an exported file on: given files, or the config's validation set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmattn.config.walk import innermost_dataset
from mmattn.errors import DataError
from mmattn.images import read_image
from mmattn.inference.images import find_images

if TYPE_CHECKING:
    from mmengine.config import Config


def read_images(
    paths: Iterable[str | Path], *, limit: int | None = None, bit_depth: int | None = None
) -> list[np.ndarray]:
    """Read images from files and folders, sub-folders included.

    Args:
        paths: Files, folders and patterns.
        limit: Largest number of images; the first ones are read.
        bit_depth: Bits in use of images that have more than 8.

    Returns:
        Images, (H, W, 3) uint8 RGB.

    Raises:
        DataError: A path is missing or is not an image, or there are no images.
    """
    files = find_images(paths, below=True)
    return [read_image(file, bit_depth=bit_depth) for file in files[:limit]]


def stated_bit_depth(cfg: Config) -> int | None:
    """Return the bit depth that the config's validation dataset states for its images."""
    loader = cfg.get("val_dataloader") or cfg.get("test_dataloader")
    return innermost_dataset(loader["dataset"]).get("bit_depth") if loader else None


def validation_dataset(cfg: Config):
    """Build the config's validation dataset, else its test dataset.

    Returns:
        A dataset of at least one image.

    Raises:
        DataError: The config has no such dataset, its files are not there, or it is empty.
    """
    from mmengine.registry import DATASETS

    from mmattn.config.registry_scope import enter_scope

    loader = cfg.get("val_dataloader") or cfg.get("test_dataloader")
    if not loader:
        raise DataError(f"{cfg.filename}: has no validation dataset; give images with --images")
    enter_scope(cfg)
    try:
        dataset = DATASETS.build(loader["dataset"])
    except FileNotFoundError as error:
        raise DataError(
            f"{cfg.filename}: its validation dataset is not there ({error}); give images with "
            "--images"
        ) from error
    if len(dataset) == 0:
        raise DataError(
            f"{cfg.filename}: its validation dataset is empty; give images with --images"
        )
    return dataset


def validation_images(cfg: Config, *, limit: int) -> list[np.ndarray]:
    """Read images of the config's validation set, evenly spread.

    Args:
        cfg: Config with a validation or test dataset.
        limit: Number of images.

    Returns:
        Images, (H, W, 3) uint8 RGB.

    Raises:
        DataError: The config has no such dataset, or its images are not there.
    """
    dataset = validation_dataset(cfg)
    chosen = np.linspace(0, len(dataset) - 1, min(limit, len(dataset))).round().astype(int)
    entries = [dataset.get_data_info(int(i)) for i in chosen]
    return [read_image(e["img_path"], bit_depth=e.get("bit_depth")) for e in entries]
