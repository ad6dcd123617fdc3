"""The config's validation images and labels as a test sees them: after the test pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from mmattn.config.walk import innermost_dataset, rewrite
from mmattn.errors import ConfigError
from mmattn.images import read_for_display
from mmattn.tasks import task_of
from mmattn.type_names import bare_name

from .check_images import validation_dataset

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmseg.structures import SegDataSample
    from torch import Tensor


@dataclass(frozen=True)
class ValidationImage:
    """An image as the test pipeline leaves it.

    Attributes:
        inputs: (3, h, w), in the channel order of the config's loader (BGR), resized by the test
            pipeline.
        sample: Metadata of the image (``ori_shape``, ``img_path``) and its labels.
        bit_depth: Bits in use of images that have more than 8, as the dataset states them.
    """

    inputs: Tensor
    sample: SegDataSample
    bit_depth: int | None = None

    @property
    def rgb(self) -> np.ndarray:
        """The resized image, (h, w, 3) RGB, as an exported file takes it."""
        return np.ascontiguousarray(self.inputs.numpy()[::-1].transpose(1, 2, 0))

    def read_pixels(self) -> np.ndarray:
        """Read the image for display at the size of its file, (H, W, 3) uint8 RGB."""
        return read_for_display(self.sample.metainfo["img_path"], bit_depth=self.bit_depth)


Pair = tuple[ValidationImage, np.ndarray]


class ValidationPairs(Sequence[Pair]):
    """Images of a dataset and their labels, (H, W) at the size of the file, read when asked for.

    Args:
        dataset: Dataset of mmseg with its pipeline.
        length: Number of images; the first ones are taken.
        filename: Path of the config, used in messages.
    """

    def __init__(self, dataset: Any, length: int, filename: str | None) -> None:
        self.dataset = dataset
        self.length = length
        self.filename = filename

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Pair]:
        return (self._read(index) for index in range(self.length))

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pair]: ...
    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        if isinstance(index, slice):
            return [self._read(i) for i in range(self.length)[index]]
        return self._read(range(self.length)[index])

    def _read(self, index: int) -> Pair:
        packed = self.dataset[index]
        sample = packed["data_samples"]
        if "gt_sem_seg" not in sample:
            raise ConfigError(
                f"{self.filename}: the test pipeline loads no labels, so accuracy cannot be "
                "measured. Add LoadAnnotations before PackSegInputs."
            )
        labels = sample.gt_sem_seg.data[0].numpy()
        size = tuple(sample.metainfo["ori_shape"][:2])
        if labels.shape != size:
            raise ConfigError(
                f"{self.filename}: the test pipeline makes labels of {labels.shape[0]} x "
                f"{labels.shape[1]} for an image of {size[0]} x {size[1]} (height x width). Put "
                "LoadAnnotations after Resize, so that labels keep the size of the file."
            )
        depth = getattr(self.dataset, "bit_depth", None)
        return ValidationImage(packed["inputs"], sample, depth), labels


def validation_pairs(cfg: Config, limit: int | None = None) -> Sequence[Pair]:
    """Return images and labels of the config's validation set, as ``test`` would see them.

    The images are prepared by the config's test pipeline; the labels keep the size of the file,
    at which mmseg's ``IoUMetric`` compares.

    Args:
        cfg: Config of a semantic segmentation model.
        limit: Largest number of pairs; the first ones are taken.

    Returns:
        Pairs of an image and its labels, (H, W); each is read when it is asked for.

    Raises:
        ConfigError: The test pipeline loads no labels, or resizes them.
        DataError: The config has no validation set, or its files are not there.
    """
    dataset = validation_dataset(_with_test_pipeline(cfg))
    return ValidationPairs(dataset, min(limit or len(dataset), len(dataset)), cfg.filename)


def _with_test_pipeline(cfg: Config) -> Config:
    """Return a config whose validation set has the test pipeline, if that loads labels too."""
    val, test = cfg.get("val_dataloader"), cfg.get("test_dataloader")
    if not val or not test:
        return cfg
    pipeline = innermost_dataset(test["dataset"]).get("pipeline") or []
    loaders = task_of(cfg).annotation_loaders
    if not any(bare_name(step["type"]) in loaders for step in pipeline):
        return cfg

    def change(path: str, value: Any) -> Any:
        if isinstance(value, Mapping) and "pipeline" in value:
            return {**value, "pipeline": deepcopy(pipeline)}
        return value

    cfg = deepcopy(cfg)
    cfg.val_dataloader["dataset"] = rewrite(val["dataset"], change)
    return cfg
