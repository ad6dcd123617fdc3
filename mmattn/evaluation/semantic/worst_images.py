"""The images with the lowest and the highest scores; only they keep their label maps."""

from __future__ import annotations

import bisect
import math
from typing import Protocol

import cv2
import numpy as np

# Pixels of the longer side of a label map that is kept.
_MAX_SIDE = 640


class RankedImage(Protocol):
    """Results of an image that can be kept.

    Attributes:
        rank: Sort key, the worst image first; infinite for one that is not ranked.
        label_maps: PNGs of ground truth and prediction while it is kept.
    """

    label_maps: tuple[bytes, bytes] | None

    @property
    def rank(self) -> tuple[float, str]: ...


class WorstImages:
    """Keeps the worst of the images that are offered, and the best ones if they are wanted.

    Args:
        limit: Number of the worst images to keep; 0 keeps none.
        best: Number of the best images to keep.
    """

    def __init__(self, limit: int, best: int = 0) -> None:
        self.limit = limit
        self.best = best
        self._worst: list[tuple[tuple[float, str], RankedImage]] = []
        self._best: list[tuple[tuple[float, str], RankedImage]] = []

    def offer(self, counts: RankedImage, label: np.ndarray, predicted: np.ndarray) -> None:
        """Keep an image if it is among the worst or the best; another one then has to go.

        Args:
            counts: Counts of the image; if it is kept, its ``label_maps`` are set.
            label: (H, W) class indices, or numbers of segments, of the ground truth.
            predicted: (H, W) those of the prediction.
        """
        score, name = counts.rank
        if math.isinf(score):
            return
        lists = ((self._worst, self.limit, (score, name)), (self._best, self.best, (-score, name)))
        gone: list[RankedImage] = []
        for kept, limit, key in lists:
            if not limit or (len(kept) == limit and key >= kept[-1][0]):
                continue
            if counts.label_maps is None:
                counts.label_maps = encode_label_map(label), encode_label_map(predicted)
            bisect.insort(kept, (key, counts), key=lambda entry: entry[0])
            if len(kept) > limit:
                gone.append(kept.pop()[1])
        for one in gone:
            if not any(one is other for kept, *_ in lists for _, other in kept):
                one.label_maps = None


def encode_label_map(classes: np.ndarray) -> bytes:
    """Encode a label map as PNG, subsampled to at most 640 pixels.

    Args:
        classes: (H, W) class indices; values outside of 0 to 65534 become 65535.
    """
    step = math.ceil(max(classes.shape) / _MAX_SIDE)
    small = classes[::step, ::step]
    small = np.where((small >= 0) & (small < 65535), small, 65535).astype(np.uint16)
    # Always 16 bits: label maps of few classes shrink to nothing in the PNG.
    success, encoded = cv2.imencode(".png", np.ascontiguousarray(small))
    if not success:
        raise ValueError(f"OpenCV cannot encode a label map of shape {classes.shape}")
    return encoded.tobytes()


def decode_label_map(encoded: bytes) -> np.ndarray:
    """Decode the result of ``encode_label_map``; (H, W) uint16."""
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
