"""Comparison with values that other code made with golden weights (``mmattn.testing.golden``)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from torch import Tensor

from mmattn.testing.golden import golden_image as golden_image
from mmattn.testing.golden import golden_value as golden_value


def check_golden(values: Tensor, expected: Sequence[float], tolerance: float = 2e-5) -> None:
    """Compare mean, standard deviation, and the values at 0, N // 3, N // 2 and N - 1.

    Args:
        values: Any shape.
        expected: These numbers, or the first two of them.
        tolerance: Largest difference.
    """
    flat = values.detach().double().flatten()
    places = [0, len(flat) // 3, len(flat) // 2, len(flat) - 1]
    got = [flat.mean(), flat.std(), *flat[places]]
    for value, number in zip(got, expected, strict=False):
        assert value.item() == pytest.approx(number, abs=tolerance)
