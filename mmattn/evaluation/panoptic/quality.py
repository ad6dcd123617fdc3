"""Panoptic quality from the matches of all images.

Kirillov et al., Panoptic Segmentation, CVPR 2019, arXiv:1801.00868, equations 1 and 2. Over all
images, with TP matches, FP predicted and FN labelled segments of a class without a match:
    SQ = sum of IoU over TP / TP
    RQ = TP / (TP + FP / 2 + FN / 2)
    PQ = SQ RQ
Of a group of classes, each is the mean over the classes that occur, in ground truth or prediction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mmattn.detections.segment_map import SegmentMap

from .matching import SegmentMatches

#: Names of the rows of ``QualitySums.values``.
SUMS = ("iou", "tp", "fp", "fn")
QUALITIES = ("PQ", "SQ", "RQ")


@dataclass(frozen=True, eq=False)
class QualitySums:
    """Sums that the qualities of an image are computed from; only of classes that occur.

    Attributes:
        labels: int64 (n,), class indices, rising.
        values: float64 (4, n), rows as in ``SUMS``.
    """

    labels: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, truth: SegmentMap, predicted: SegmentMap, matches: SegmentMatches) -> QualitySums:
        """Sum up the matches of an image."""
        hit = truth.labels[matches.truth]
        false, missed = predicted.labels[matches.false], truth.labels[matches.missed]
        labels, places = np.unique(np.concatenate([hit, false, missed]), return_inverse=True)
        of_hit, of_false, of_missed = np.split(places, [len(hit), len(hit) + len(false)])
        count = len(labels)
        values = [
            np.bincount(of_hit, matches.ious, minlength=count),
            *(np.bincount(places, minlength=count) for places in (of_hit, of_false, of_missed)),
        ]
        return cls(labels, np.stack(values).astype(np.float64))

    @staticmethod
    def total(parts: Iterable[QualitySums], num_classes: int) -> np.ndarray:
        """Add the sums of images, float64 (4, K)."""
        sums = np.zeros((len(SUMS), num_classes))
        for part in parts:
            sums[:, part.labels] += part.values
        return sums

    def quality(self) -> float:
        """Return the mean PQ of the classes of this image alone; nan without a segment."""
        return float(mean_quality(class_qualities(self.values))[0])


def class_qualities(sums: np.ndarray) -> np.ndarray:
    """Compute PQ, SQ and RQ of each class.

    Args:
        sums: (4, K), rows as in ``SUMS``.

    Returns:
        float64 (3, K), fractions; nan for a class that does not occur, SQ 0 without a match.
    """
    iou, tp, fp, fn = sums
    weight = tp + fp / 2 + fn / 2
    seen = weight > 0
    nothing = np.full(len(tp), np.nan)
    sq = np.divide(iou, tp, out=np.where(seen, 0.0, np.nan), where=tp > 0)
    rq = np.divide(tp, weight, out=nothing.copy(), where=seen)
    pq = np.divide(iou, weight, out=nothing.copy(), where=seen)
    return np.stack([pq, sq, rq])


def mean_quality(qualities: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
    """Return the means over classes that occur, (3,); nan if none does.

    Args:
        qualities: (3, K), of ``class_qualities``.
        chosen: bool (K,), classes of a group; None for all.
    """
    of_group = qualities if chosen is None else qualities[:, chosen]
    seen = ~np.isnan(of_group[0])
    return of_group[:, seen].mean(1) if seen.any() else np.full(len(qualities), np.nan)
