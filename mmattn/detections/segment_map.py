"""An image cut into segments, the form in which ground truth and predictions are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

#: Id of the pixels without a segment, in maps and files.
VOID = 0


@dataclass(frozen=True, eq=False)
class SegmentMap:
    """The n segments of an image; no two share a pixel.

    Attributes:
        index: int32 (H, W), place of the segment plus 1; ``VOID`` where there is none.
        labels: int64 (n,), class index of each segment.
        crowd: bool (n,), whether a segment is a region of several objects.
        ids: int64 (n,), ids in the file or in the prediction.
    """

    index: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    ids: np.ndarray

    @classmethod
    def of(
        cls,
        id_map: np.ndarray,
        labels: Mapping[int, int],
        crowd: Iterable[int] = (),
    ) -> SegmentMap:
        """Number the segments of a map of ids.

        Args:
            id_map: (H, W), any integers.
            labels: Id of a segment -> class index; pixels of other ids are void.
            crowd: Ids of crowd regions.
        """
        present, places, _ = find_ids(id_map)
        known = np.array([int(i) in labels for i in present], bool)
        number = np.where(known, np.cumsum(known), VOID).astype(np.int32)
        ids = present[known].astype(np.int64)
        crowds = set(crowd)
        return cls(
            index=number[places],
            labels=np.array([labels[int(i)] for i in ids], np.int64),
            crowd=np.array([int(i) in crowds for i in ids], bool),
            ids=ids,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.index.shape
        return height, width

    def areas(self) -> np.ndarray:
        """Count the pixels of each segment, int64 (n,)."""
        return np.bincount(self.index.reshape(-1), minlength=len(self.labels) + 1)[1:]

    def class_map(self, void: int) -> np.ndarray:
        """Return the class of each pixel, int64 (H, W), ``void`` where there is no segment."""
        return np.concatenate([[void], self.labels])[self.index]

    def boxes(self) -> np.ndarray:
        """Return x, y, width and height around each segment, int64 (n, 4)."""
        count = len(self.labels)
        rows, columns = np.nonzero(self.index)
        places = self.index[rows, columns] - 1
        boxes = np.zeros((count, 4), np.int64)
        for axis, values in enumerate((columns, rows)):
            low = np.full(count, np.iinfo(np.int64).max)
            high = np.full(count, -1)
            np.minimum.at(low, places, values)
            np.maximum.at(high, places, values)
            boxes[:, axis], boxes[:, axis + 2] = low, high - low + 1
        return boxes


def find_ids(id_map: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the ids of a map, as ``np.unique`` does; fast, because neighbours are mostly equal.

    Args:
        id_map: (H, W), any integers.

    Returns:
        The ids, rising, (n,); the place of each pixel's id among them, (H, W); the number of pixels
        of each, int64 (n,).
    """
    flat = id_map.reshape(-1)
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    lengths = np.diff(np.append(starts, flat.size))
    present, runs = np.unique(flat[starts], return_inverse=True)
    counts = np.bincount(runs, lengths, len(present)).astype(np.int64)
    return present, np.repeat(runs, lengths).reshape(id_map.shape), counts


def count_pairs(
    truth: SegmentMap, predicted: SegmentMap, where: np.ndarray | None = None
) -> np.ndarray:
    """Count the pixels that a segment of one map shares with one of the other.

    Args:
        truth: T segments.
        predicted: P segments of the same image.
        where: bool (H, W), the pixels that are counted; None for all.

    Returns:
        int64 (T + 1, P + 1); row and column 0 are ``VOID``.
    """
    rows, columns = len(truth.labels) + 1, len(predicted.labels) + 1
    pairs = truth.index.astype(np.int64) * columns + predicted.index
    pairs = pairs.reshape(-1) if where is None else pairs[where]
    return np.bincount(pairs, minlength=rows * columns).reshape(rows, columns)


def segment_ids(colours: np.ndarray) -> np.ndarray:
    """Return the ids of the colours of a panoptic PNG: ``R + 256 G + 256^2 B``.

    Args:
        colours: (H, W, 3) uint8 RGB

    Returns:
        int32 (H, W)
    """
    red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
    return red + 256 * green + 256**2 * blue


def id_colours(ids: np.ndarray | Sequence[int]) -> np.ndarray:
    """Return the colours of ids, the inverse of ``segment_ids``; (..., 3) uint8 RGB."""
    numbers = np.asarray(ids, np.int64)
    return np.stack([numbers // 256**power % 256 for power in range(3)], -1).astype(np.uint8)
