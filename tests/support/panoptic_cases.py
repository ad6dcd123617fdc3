"""Random panoptic images with void, crowd regions, thin and lost segments."""

from __future__ import annotations

import numpy as np

from mmattn.detections.segment_map import SegmentMap
from tests.support.panoptic_reference import PlainSegment

NUM_CLASSES = 4
Case = tuple[np.ndarray, dict[int, int], set[int]]


def random_truth(rng: np.random.Generator, shape: tuple[int, int] = (28, 36)) -> Case:
    """Map of ids, their classes, and which are crowd regions; 0 is void."""
    ids = np.zeros(shape, np.int64)
    labels: dict[int, int] = {}
    crowd: set[int] = set()
    for _ in range(int(rng.integers(0, 9))):
        number = int(rng.integers(1, 256**3))
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        h, w = rng.integers(1, 20, 2)
        ids[y : y + h, x : x + w] = number
        labels[number] = int(rng.integers(0, NUM_CLASSES))
        if rng.random() < 0.25:
            crowd.add(number)
    labels = {number: label for number, label in labels.items() if (ids == number).any()}
    return ids, labels, crowd & set(labels)


def perturbed(case: Case, rng: np.random.Generator) -> Case:
    """A prediction that is near: shifted, some classes changed, parts void or cut off."""
    ids, labels, _ = case
    ids = np.roll(ids, tuple(int(v) for v in rng.integers(-2, 3, 2)), axis=(0, 1))
    labels = {
        number: int(rng.integers(0, NUM_CLASSES)) if rng.random() < 0.2 else label
        for number, label in labels.items()
    }
    if rng.random() < 0.5:
        ids[: int(rng.integers(0, 8))] = 0
    if rng.random() < 0.7:
        y, x = rng.integers(0, ids.shape[0]), rng.integers(0, ids.shape[1])
        ids[y : y + 9, x : x + 9] = 77
        labels[77] = int(rng.integers(0, NUM_CLASSES))
    return ids, {n: label for n, label in labels.items() if (ids == n).any()}, set()


def as_map(case: Case) -> SegmentMap:
    ids, labels, crowd = case
    return SegmentMap.of(ids, labels, crowd)


def as_plain(case: Case) -> list[PlainSegment]:
    ids, labels, crowd = case
    return [PlainSegment(label, ids == n, n in crowd) for n, label in labels.items()]
