"""Real images to check an exported file with: given ones, or a config's validation set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmattn.data.images import IMAGE_SUFFIXES, read_image
from mmattn.errors import DataError

if TYPE_CHECKING:
    from mmengine.config import Config


def read_images(paths: Iterable[str | Path], *, limit: int | None = None) -> list[np.ndarray]:
    """Images from files and folders, the first ``limit``.

    Raises:
        DataError: A path is missing, is not an image, or there is none at all.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            files += sorted(f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
        else:
            files.append(path)
    if not files:
        raise DataError(f"no images in {', '.join(map(str, paths))}")
    return [read_image(file) for file in files[:limit]]


def validation_dataset(cfg: Config):
    """The config's validation, else test dataset, built; it holds at least one image.

    Raises:
        DataError: The config has none, or its files are not there.
    """
    from mmengine.registry import DATASETS

    from mmattn.config.registry_scope import enter_scope

    loader = cfg.get("val_dataloader") or cfg.get("test_dataloader")
    if not loader:
        raise DataError("the config has no validation dataset; give images with --images")
    enter_scope(cfg)
    try:
        dataset = DATASETS.build(loader["dataset"])
    except FileNotFoundError as error:
        raise DataError(
            f"the config's validation dataset is not there ({error}); give images with --images"
        ) from error
    if len(dataset) == 0:
        raise DataError("the config's validation dataset is empty; give images with --images")
    return dataset


def validation_images(cfg: Config, *, limit: int) -> list[np.ndarray]:
    """``limit`` images, evenly spread, of the config's validation set, (H, W, 3) uint8 RGB.

    Raises:
        DataError: The config has no such set, or its images are not there.
    """
    dataset = validation_dataset(cfg)
    chosen = np.linspace(0, len(dataset) - 1, min(limit, len(dataset))).round().astype(int)
    return [read_image(dataset.get_data_info(int(i))["img_path"]) for i in chosen]
