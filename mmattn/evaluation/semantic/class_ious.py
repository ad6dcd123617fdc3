"""IoU of every class from a confusion matrix, for reports and comparisons of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .scores import class_scores, mean_over_classes, pixel_accuracy


@dataclass(frozen=True)
class ClassIoUs:
    """IoU per class in percent, nan for a class that is neither in the truth nor predicted.

    Attributes:
        classes: Names of the classes.
        ious: IoU of each class.
        pixel_accuracy: Share of the labelled pixels that are right, in percent.
    """

    classes: tuple[str, ...]
    ious: tuple[float, ...]
    pixel_accuracy: float

    @property
    def mean(self) -> float:
        """Mean in percent over the classes that occur, as mmseg's ``IoUMetric`` reports it."""
        return float(mean_over_classes(np.asarray(self.ious)))

    @classmethod
    def of(cls, confusion: np.ndarray, classes: Sequence[str]) -> ClassIoUs:
        """Compute them from counts of pixels.

        Args:
            confusion: (K, K), rows by label and columns by prediction; or (K + 1, K + 1), with
                labels and predictions that are no class in the last row and column.
            classes: Names of the K classes.
        """
        count = len(classes)
        counts = {
            "hit": np.diagonal(confusion)[:count],
            "predicted": confusion.sum(0)[:count],
            "labelled": confusion.sum(1)[:count],
        }
        ious = 100 * class_scores(counts, ["mIoU"])["IoU"]
        return cls(tuple(classes), tuple(ious.tolist()), 100 * float(pixel_accuracy(counts)))
