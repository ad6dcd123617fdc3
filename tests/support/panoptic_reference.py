"""Panoptic quality by plain loops over masks, the oracle of ``mmattn.evaluation.panoptic``.

Written from the papers alone: every segment is a mask of its own, every distance is looked up pixel
by pixel, nothing is shared with the fast path.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PlainSegment:
    """A segment: its class, its pixels (H, W) bool, and whether it is a crowd region."""

    label: int
    mask: np.ndarray
    crowd: bool = False


def plain_boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask with a pixel outside of it, or of the image, within d rows and columns."""
    height, width = mask.shape
    d = max(1, round(0.02 * math.hypot(height, width)))
    around = np.zeros((height + 2 * d, width + 2 * d), bool)  # beyond the image is outside
    around[d : d + height, d : d + width] = mask
    near = np.zeros(mask.shape, bool)
    for y in range(2 * d + 1):
        for x in range(2 * d + 1):
            near |= ~around[y : y + height, x : x + width]
    return mask & near


def plain_iou(p: np.ndarray, g: np.ndarray, void: np.ndarray) -> float:
    """IoU of two masks, the void pixels of the prediction left out."""
    union = (p | g) & ~(p & void)
    return int((p & g).sum()) / int(union.sum()) if union.any() else 0.0


def plain_image(
    truth: list[PlainSegment], predicted: list[PlainSegment], *, boundary: bool = False
) -> dict[int, dict[str, float]]:
    """Sums of an image: class -> ``iou``, ``tp``, ``fp``, ``fn``."""
    sums: dict[int, dict[str, float]] = {}

    def of(label: int) -> dict[str, float]:
        return sums.setdefault(label, {"iou": 0.0, "tp": 0, "fp": 0, "fn": 0})

    if truth or predicted:
        void = np.ones((truth or predicted)[0].mask.shape, bool)
    for segment in truth:
        void = void & ~segment.mask
    matched_truth, matched_predicted = set(), set()
    for i, g in enumerate(truth):
        for j, p in enumerate(predicted):
            if g.crowd or g.label != p.label:
                continue
            iou = plain_iou(p.mask, g.mask, void)
            if boundary:
                band = plain_iou(plain_boundary(p.mask), plain_boundary(g.mask), void)
                iou = min(iou, band)
            if iou > 0.5:
                of(g.label)["tp"] += 1
                of(g.label)["iou"] += iou
                matched_truth.add(i)
                matched_predicted.add(j)
    for i, g in enumerate(truth):
        if i not in matched_truth and not g.crowd:
            of(g.label)["fn"] += 1
    for j, p in enumerate(predicted):
        if j in matched_predicted:
            continue
        unlabelled = void.copy()
        for g in truth:
            if g.crowd and g.label == p.label:
                unlabelled |= g.mask
        if (p.mask & unlabelled).sum() <= 0.5 * p.mask.sum():
            of(p.label)["fp"] += 1
    return sums


def plain_quality(images: list[dict[int, dict[str, float]]]) -> dict[int, dict[str, float]]:
    """PQ, SQ and RQ of every class that occurs, over images."""
    qualities = {}
    for label in sorted({label for image in images for label in image}):
        total = {"iou": 0.0, "tp": 0.0, "fp": 0.0, "fn": 0.0}
        for image in images:
            for name, value in image.get(label, {}).items():
                total[name] += value
        weight = total["tp"] + 0.5 * total["fp"] + 0.5 * total["fn"]
        if weight:
            sq = total["iou"] / total["tp"] if total["tp"] else 0.0
            rq = total["tp"] / weight
            qualities[label] = {"PQ": sq * rq, "SQ": sq, "RQ": rq}
    return qualities
