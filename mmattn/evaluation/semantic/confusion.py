"""Exact counts of pixels by labelled and predicted class.

    M[i, j] = number of pixels that are labelled i and predicted j

All pixel scores of segmentation follow from M: intersections are its diagonal, labelled and
predicted areas its sums over rows and columns. It is counted in 64-bit integers, in chunks that
stay in the processor's cache; torch's float histograms, which mmseg takes, are slower and stop
counting single pixels beyond 2**24.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Pixels of a chunk: its numbers fit into the cache, and outweigh the counters that are cleared.
_CHUNK = 1 << 18
# Labels of 8 bits need no look-up: the counters have a place for every pair of them.
_BYTE = 256


def confusion_matrix(
    label: Tensor, predicted: Tensor, num_classes: int, ignore_index: int = 255
) -> Tensor:
    """Count the pairs of classes of two label maps.

    Args:
        label: Class indices of the ground truth, any shape and number type.
        predicted: Class indices of the same shape, on the same device.
        num_classes: K; the classes are 0 to K - 1.
        ignore_index: Pixels with this label are left out.

    Returns:
        int64 on the CPU, (K + 1, K + 1), rows by label. The last row and the last column count
        labels and predictions that are no class.

    Raises:
        ValueError: The shapes differ.
    """
    if label.shape != predicted.shape:
        raise ValueError(
            f"label has shape {tuple(label.shape)} and predicted {tuple(predicted.shape)}: "
            "they must be equal"
        )
    label, predicted = label.reshape(-1), predicted.reshape(-1)
    total = label.new_zeros((num_classes + 1, num_classes + 1), dtype=torch.int64)
    bytes_total = None
    for start in range(0, label.numel(), _CHUNK):
        rows = label[start : start + _CHUNK].to(torch.int64)
        columns = predicted[start : start + _CHUNK].to(torch.int64)
        if num_classes <= _BYTE and _all_bytes(rows, columns):
            pairs = torch.bincount(rows * _BYTE + columns, minlength=_BYTE * _BYTE)
            bytes_total = pairs if bytes_total is None else bytes_total.add_(pairs)
        else:
            total += _count_any(rows, columns, num_classes, ignore_index)
    if bytes_total is not None:
        total += _fold(bytes_total.view(_BYTE, _BYTE), num_classes, ignore_index)
    return total.cpu()


def _all_bytes(a: Tensor, b: Tensor) -> bool:
    """Return whether all values of both lie in 0 to 255, that is, all their bits together do."""
    low, high = torch.aminmax(a | b)
    return low.item() >= 0 and high.item() < _BYTE


def _fold(pairs: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Drop the ignored row and add up what is no class."""
    if 0 <= ignore_index < _BYTE:
        pairs[ignore_index] = 0
    k = num_classes
    folded = pairs.new_zeros((k + 1, k + 1))
    folded[:k, :k] = pairs[:k, :k]
    folded[k, :k] = pairs[k:, :k].sum(0)
    folded[:k, k] = pairs[:k, k:].sum(1)
    folded[k, k] = pairs[k:, k:].sum()
    return folded


def _count_any(rows: Tensor, columns: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Count pairs of values of any size, negative ones included."""
    k = num_classes
    kept = rows != ignore_index
    rows = torch.where((rows >= 0) & (rows < k), rows, k)
    columns = torch.where((columns >= 0) & (columns < k), columns, k)
    pairs = torch.bincount((rows * (k + 1) + columns)[kept], minlength=(k + 1) ** 2)
    return pairs.view(k + 1, k + 1)


@dataclass(frozen=True)
class SparseConfusion:
    """The entries of a confusion matrix that are not zero; one image has few of them.

    Attributes:
        places: int64 (n,), row * side + column, rising.
        counts: int64 (n,), pixels there.
        side: K + 1.
    """

    places: np.ndarray
    counts: np.ndarray
    side: int

    @classmethod
    def of(cls, matrix: Tensor) -> SparseConfusion:
        """Keep the entries of ``confusion_matrix``'s result that are not zero."""
        flat = matrix.numpy().reshape(-1)
        places = np.flatnonzero(flat)
        return cls(places, flat[places], len(matrix))

    @staticmethod
    def sum_of(parts: Iterable[SparseConfusion]) -> np.ndarray:
        """Add the matrices of several images, at least one; int64 (K + 1, K + 1)."""
        parts = list(parts)
        side = parts[0].side
        total = np.zeros(side * side, np.int64)
        for part in parts:
            total[part.places] += part.counts
        return total.reshape(side, side)

    @property
    def has_invalid_label(self) -> bool:
        """Whether a pixel that counts is labelled as no class."""
        return bool((self.places // self.side == self.side - 1).any())

    @property
    def has_invalid_guess(self) -> bool:
        """Whether a pixel that counts is predicted as no class."""
        return bool((self.places % self.side == self.side - 1).any())

    def areas(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Count the pixels of each class that are hit, predicted and labelled; int64 (K,) each."""
        rows, columns = np.divmod(self.places, self.side)

        def summed(where: np.ndarray, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
            # Doubles add integers exactly far beyond the pixels of any image.
            sums = np.bincount(where[chosen], self.counts[chosen], self.side)
            return sums[: self.side - 1].astype(np.int64)

        return summed(rows, rows == columns), summed(columns), summed(rows)
