"""Weights and inputs that follow from names and shapes alone, and values computed with them.

Two implementations that fill their weights so need no file to be compared: a few numbers do.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor


def golden_value(name: str, shape: Sequence[int]) -> Tensor:
    """Return numbers that follow from a weight's official name and shape alone.

    A sine whose phase is the name's checksum, scaled as the kind of weight needs it.

    Args:
        name: Name of the weight in the authors' state dict.
        shape: Its shape, which is also that of the result.
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
    """Return sin(0.01 n) as a batch of images of this shape."""
    return torch.sin(0.01 * torch.arange(math.prod(shape), dtype=torch.float64)).float().view(shape)


def golden_state(like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return golden values for a state dict in the authors' names; integers stay as they are.

    Args:
        like: State dict with these names and shapes.
    """
    return {
        name: golden_value(name, value.shape) if value.is_floating_point() else value
        for name, value in like.items()
    }


@dataclass(frozen=True)
class Golden:
    """Values that another implementation computed with golden weights and image, in float64.

    Attributes:
        shape: Shape of the input, and of the output.
        values: Eight outputs as text, at the positions floor(i (n - 1) / 7) of n, i = 0, …, 7.
        sums: Sum, sum of absolute values and standard deviation (n - 1) of the output.
        input_gradient: Sum and sum of absolute values of the gradient of L = sum(y^2) / 2.
        gradients: Sums of the absolute values of the gradients of weights, ``"name sum; name sum"``
            in the authors' names without ``prefix``.
        prefix: Prefix of the names that the weights were filled by.
        arguments: Arguments of the module, over those of the tester.
        tolerance: Largest difference, relative to the largest of the numbers compared.
    """

    shape: tuple[int, int, int, int]
    values: str
    sums: tuple[float, float, float]
    input_gradient: tuple[float, float] | None = None
    gradients: str = ""
    prefix: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-8

    def compare(self, y: Tensor) -> None:
        """Raise ``AssertionError`` unless the output ``y`` has the values and sums."""
        assert tuple(y.shape) == self.shape
        flat = y.detach().double().flatten()
        places = [i * (len(flat) - 1) // 7 for i in range(8)]
        expected = torch.tensor([float(text) for text in self.values.split()], dtype=torch.float64)
        error = (flat[places] - expected).abs().max()
        assert error <= self.tolerance * flat.abs().max(), f"values differ by {error}"
        found = (flat.sum(), flat.abs().sum(), flat.std())
        for name, value, number in zip(("sum", "sum of |y|", "std"), found, self.sums, strict=True):
            # The sum of the absolute values says how far rounding carries the sum.
            scale = found[1] if name == "sum" else value.abs()
            assert abs(value - number) <= self.tolerance * scale, f"{name}: {value}, not {number}"

    def compare_gradients(self, gradients: Mapping[str, Tensor], of_input: Tensor) -> None:
        """Raise ``AssertionError`` unless gradients, in the authors' names, have the sums."""
        if self.input_gradient is not None:
            total, size = of_input.sum(), of_input.abs().sum()
            assert abs(total - self.input_gradient[0]) <= self.tolerance * size
            assert abs(size - self.input_gradient[1]) <= self.tolerance * size
        for entry in filter(None, self.gradients.split(";")):
            name, number = entry.split()
            size = gradients[name].abs().sum()
            error = abs(size - float(number))
            assert error <= self.tolerance * size, f"gradient of {name}: {size}, not {number}"
