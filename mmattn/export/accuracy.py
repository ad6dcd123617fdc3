"""Per-class IoU of any predictor, so that torch and an exported file meet the same measure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

IGNORED = 255


@dataclass(frozen=True)
class ClassIoUs:
    """IoU per class in percent; NaN where a class is neither in the truth nor predicted."""

    classes: tuple[str, ...]
    ious: tuple[float, ...]
    pixel_accuracy: float

    @property
    def mean(self) -> float:
        """mIoU in percent over the classes that occur, as mmseg's ``IoUMetric`` reports it."""
        return float(np.nanmean(self.ious))


def class_ious(
    predict: Callable[[np.ndarray], np.ndarray],
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    classes: Iterable[str],
) -> ClassIoUs:
    """Run ``predict`` over pictures and compare with their masks.

    Args:
        predict: (H, W, 3) uint8 RGB -> (H, W) class indices.
        pairs: Pictures, (H, W, 3) uint8 RGB, and masks, (H, W) with 255 for "ignored".
        classes: Class names by index.
    """
    classes = tuple(classes)
    count = len(classes)
    confusion = np.zeros((count, count), np.int64)
    for picture, mask in pairs:
        counted = mask != IGNORED
        index = mask[counted].astype(np.int64) * count + predict(picture)[counted]
        confusion += np.bincount(index, minlength=count * count).reshape(count, count)
    hit = np.diag(confusion).astype(np.float64)
    union = confusion.sum(0) + confusion.sum(1) - hit
    with np.errstate(invalid="ignore", divide="ignore"):
        ious = 100 * hit / union
        accuracy = 100 * hit.sum() / confusion.sum()
    return ClassIoUs(classes, tuple(ious.tolist()), float(accuracy))


def validation_pairs(dataset, limit: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(picture, mask) of an mmseg data set, as its own loading transforms read them.

    Args:
        dataset: A built ``BaseSegDataset``.
        limit: How many at most.
    """
    from mmcv.transforms import LoadImageFromFile
    from mmseg.datasets.transforms import LoadAnnotations

    load_image, load_mask = LoadImageFromFile(), LoadAnnotations()
    for index in range(min(limit or len(dataset), len(dataset))):
        results = load_mask(load_image(dataset.get_data_info(index)))
        yield results["img"][..., ::-1].copy(), results["gt_seg_map"]
