"""What a segmentation metric keeps of one image: counts, and for the worst ones small maps."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

import cv2
import numpy as np

from .confusion import SparseConfusion

# The longer side of a map that is kept to be drawn.
_KEPT_SIDE = 640


@dataclass(eq=False)
class ImageCounts:
    """One image's share of all scores; a few kilobytes, so that processes can exchange it.

    Attributes:
        name: The image's path; it identifies it and settles the order.
        confusion: Pixels by labelled and predicted class.
        bands: (3, K), for boundary IoU, or None.
        edges: (4, K), for the boundary F-score, or None.
        calibration: (3, bins), or None.
        maps: PNGs of label and prediction, reduced in size, while this is one of the worst.
    """

    name: str
    confusion: SparseConfusion
    bands: np.ndarray | None = None
    edges: np.ndarray | None = None
    calibration: np.ndarray | None = None
    maps: tuple[bytes, bytes] | None = None

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the classes that are labelled or predicted in this image; else nan."""
        hit, predicted, labelled = self.confusion.areas()
        union = predicted + labelled - hit
        seen = union > 0
        return float((hit[seen] / union[seen]).mean()) if seen.any() else math.nan

    @property
    def rank(self) -> tuple[float, str]:
        """What the worst come first by; the name settles ties, whatever the order."""
        score = self.mean_iou
        return (math.inf if math.isnan(score) else score), self.name


class WorstImages:
    """Those of the images seen with the lowest mean IoU; only they keep their maps.

    Args:
        limit: How many.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: list[tuple[tuple[float, str], ImageCounts]] = []

    def offer(self, counts: ImageCounts, label: np.ndarray, predicted: np.ndarray) -> None:
        """Let an image in if it is bad enough; the best one then has to go.

        Args:
            counts: Of the image; it gets the maps.
            label: (H, W) class indices.
            predicted: (H, W) class indices.
        """
        rank = counts.rank
        if math.isinf(rank[0]) or not self.limit:
            return
        if len(self._kept) == self.limit and rank >= self._kept[-1][0]:
            return
        counts.maps = encode_map(label), encode_map(predicted)
        bisect.insort(self._kept, (rank, counts), key=lambda entry: entry[0])
        if len(self._kept) > self.limit:
            _, best = self._kept.pop()
            best.maps = None


def encode_map(classes: np.ndarray) -> bytes:
    """A class map as PNG, thinned out to at most 640 pixels; what is no 16-bit number is 65535."""
    step = math.ceil(max(classes.shape) / _KEPT_SIDE)
    small = classes[::step, ::step]
    small = np.where((small >= 0) & (small < 65535), small, 65535).astype(np.uint16)
    # A single value takes 16 bits as well: maps of few classes shrink to nothing in the PNG.
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(small))
    if not done:
        raise ValueError(f"OpenCV cannot encode a class map of shape {classes.shape}")
    return encoded.tobytes()


def decode_map(encoded: bytes) -> np.ndarray:
    """What ``encode_map`` kept; (H, W) uint16."""
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
