"""The boxes found in one image, and what is computed from boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Detections:
    """Boxes of one image, best first.

    Attributes:
        boxes: (N, 4) float32, left, top, right and bottom in pixels of the image.
        scores: (N,) float32, 0 to 1.
        labels: (N,) int64, index of the class.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, boxes: object, scores: object, labels: object) -> Detections:
        """Return detections of array-likes, sorted by falling score."""
        all_boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
        all_scores = np.asarray(scores, np.float32).reshape(-1)
        order = np.argsort(-all_scores, kind="stable")
        all_labels = np.asarray(labels, np.int64).reshape(-1)
        return cls(all_boxes[order], all_scores[order], all_labels[order])

    @classmethod
    def concatenate(cls, parts: Sequence[Detections]) -> Detections:
        """Return the detections of all ``parts``, best first."""
        if not parts:
            return cls.of([], [], [])
        return cls.of(
            *(np.concatenate([getattr(part, key) for part in parts])
              for key in ("boxes", "scores", "labels"))
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: np.ndarray | slice) -> Detections:
        return Detections(self.boxes[index], self.scores[index], self.labels[index])

    def above(self, score: float) -> Detections:
        """Return the detections whose score is at least ``score``."""
        return self[self.scores >= score]

    def clipped(self, height: int, width: int) -> Detections:
        """Return the detections with their boxes cut at the border of the image."""
        limits = np.array([width, height, width, height], np.float32)
        return Detections(np.clip(self.boxes, 0, limits), self.scores, self.labels)

    def moved(self, x: float, y: float) -> Detections:
        """Return the detections with their boxes moved to the right and down."""
        shift = np.array([x, y, x, y], np.float32)
        return Detections(self.boxes + shift, self.scores, self.labels)

    def counts(self, classes: Sequence[str]) -> dict[str, int]:
        """Return the number of detections by class name, the most frequent first."""
        counts = np.bincount(self.labels, minlength=len(classes))
        order: list[int] = np.argsort(-counts, kind="stable").tolist()
        return {str(classes[index]): int(counts[index]) for index in order if counts[index]}


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """Return the areas of boxes, (..., 4) -> (...)."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clip(min=0)
    return sides[..., 0] * sides[..., 1]


def box_intersections(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the areas in which boxes overlap, (N, 4) and (M, 4) -> (N, M)."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return box_areas(np.concatenate([top_left, bottom_right], axis=-1))


def box_ious(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the intersection over union of boxes, (N, 4) and (M, 4) -> (N, M) float64.

    Two boxes without an area have 0.
    """
    first, second = first.astype(np.float64), second.astype(np.float64)
    shared = box_intersections(first, second)
    union = box_areas(first)[:, None] + box_areas(second)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def nms(detections: Detections, iou_threshold: float) -> Detections:
    """Suppress, class by class, each box that overlaps a better one by more than the threshold."""
    kept: list[int] = []
    for label in np.unique(detections.labels):
        of_class = np.flatnonzero(detections.labels == label)
        kept += of_class[suppress(detections.boxes[of_class], iou_threshold)].tolist()
    return detections[np.array(sorted(kept), np.int64)]


def suppress(boxes: np.ndarray, iou_threshold: float) -> list[int]:
    """Return the places of the boxes that overlap no better one by more than the threshold.

    Args:
        boxes: (N, 4) of one class, best first.
        iou_threshold: Intersection over union from which on, exclusively, the worse one goes.
    """
    kept: list[int] = []
    left = np.arange(len(boxes))
    while len(left):
        best, left = left[0], left[1:]
        kept.append(int(best))
        left = left[box_ious(boxes[[best]], boxes[left])[0] <= iou_threshold]
    return kept
