"""Weights and images that follow from names and shapes alone, for values made by other code."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor


def golden_value(name: str, shape: Sequence[int]) -> Tensor:
    """Numbers that follow from a weight's official name and shape alone.

    A sine whose phase is the name's checksum, scaled as the kind of weight needs it.
    """
    count = math.prod(shape)
    phase = zlib.crc32(name.encode()) % 1000 / 1000 * 2 * math.pi
    wave = np.sin(0.1 * np.arange(1, count + 1) * 1.618 + phase)
    part = name.rsplit(".", 1)[-1]
    if part == "running_var":
        wave = 1 + 0.3 * wave
    elif part in ("running_mean", "bias"):
        wave = 0.1 * wave
    elif part.startswith("layer_scale") or part == "gamma":
        wave = 0.5 + 0.3 * wave
    elif part == "weight" and len(shape) == 1:
        wave = 1 + 0.2 * wave
    elif len(shape) >= 2:
        wave = wave * math.sqrt(2 / math.prod(shape[1:]))
    return torch.from_numpy(wave.reshape(shape).astype(np.float32))


def golden_image(*shape: int) -> Tensor:
    """sin(0.01 n) as a batch of images."""
    return torch.sin(0.01 * torch.arange(math.prod(shape), dtype=torch.float64)).float().view(shape)


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
