"""The confusion matrix counts every pixel, as a plain loop does."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor

from mmattn.evaluation.semantic import confusion
from mmattn.evaluation.semantic.confusion import SparseConfusion, confusion_matrix


def by_loop(label: Tensor, predicted: Tensor, k: int, ignore: int) -> Tensor:
    def place(value: int) -> int:
        return value if 0 <= value < k else k

    pairs = Counter(zip(label.flatten().tolist(), predicted.flatten().tolist(), strict=True))
    matrix = torch.zeros((k + 1, k + 1), dtype=torch.int64)
    for (row, column), count in pairs.items():
        if row != ignore:
            matrix[place(row), place(column)] += count
    return matrix


def maps(seed: int, k: int, extra: list[int], size: tuple[int, int] = (17, 29)) -> list[Tensor]:
    """Two label maps with some values that are no class."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.tensor([*range(k)] * 3 + extra)
    return [values[torch.randint(len(values), size, generator=generator)] for _ in range(2)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("k", "ignore", "extra"),
    [
        (1, 255, [255]),
        (11, 255, [255, 11, 254]),  # bytes, with values between the classes and 255
        (19, 0, [19]),  # a class is ignored
        (19, -1, [-1, -7]),
        (7, 255, [256, 65535, -1]),
        (300, 65535, [65535, 300]),
        (256, 999, [256]),
        (255, 255, [255]),
    ],
)
def test_equals_a_plain_loop(k: int, ignore: int, extra: list[int], seed: int) -> None:
    label, predicted = maps(seed, k, extra)
    expected = by_loop(label, predicted, k, ignore)
    assert torch.equal(confusion_matrix(label, predicted, k, ignore), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.float32])
def test_any_number_type_counts_alike(dtype: torch.dtype) -> None:
    label, predicted = maps(0, 19, [100])
    expected = by_loop(label, predicted, 19, 255)
    assert torch.equal(confusion_matrix(label.to(dtype), predicted.to(dtype), 19), expected)


def test_pieces_of_bytes_and_of_larger_values_add_up(monkeypatch) -> None:
    """An image whose first piece holds bytes alone and whose second does not."""
    monkeypatch.setattr(confusion, "_CHUNK", 100)
    label, predicted = maps(3, 5, [255, 7])
    label[-1] = 70_000
    predicted[-2] = -3
    expected = by_loop(label, predicted, 5, 255)
    assert torch.equal(confusion_matrix(label, predicted, 5), expected)


def test_label_maps_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        confusion_matrix(torch.zeros(2, 3), torch.zeros(3, 2), 5)


def test_an_empty_map_counts_nothing() -> None:
    assert not confusion_matrix(torch.zeros(0, 4), torch.zeros(0, 4), 3).any()


def test_sparse_form_is_the_same_matrix() -> None:
    label, predicted = maps(4, 6, [9, 255])
    matrix = confusion_matrix(label, predicted, 6)
    sparse = SparseConfusion.of(matrix)
    assert np.array_equal(SparseConfusion.sum_of([sparse]), matrix.numpy())
    assert np.array_equal(SparseConfusion.sum_of([sparse, sparse]), 2 * matrix.numpy())
    assert sparse.has_invalid_label == bool(matrix[6].any())
    assert sparse.has_invalid_guess == bool(matrix[:, 6].any())
    hit, guessed, labelled = sparse.areas()
    assert np.array_equal(hit, matrix.diagonal()[:6])
    assert np.array_equal(guessed, matrix[:, :6].sum(0))
    assert np.array_equal(labelled, matrix[:6].sum(1))
