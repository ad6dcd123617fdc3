"""Scale a picture by gates over channels, rows, columns and positions, all in one pass."""

from __future__ import annotations

import torch
from torch import Tensor

from .._library import exporting
from .._pictures import as_gate, check_picture, dense
from . import reference
from .op import operator

_AXES = {"channel": "N, C", "row": "N, C, H", "column": "N, C, W", "spatial": "N, 1, H, W"}


def apply_gates(
    x: Tensor,
    *,
    channel: Tensor | None = None,
    row: Tensor | None = None,
    column: Tensor | None = None,
    spatial: Tensor | None = None,
    residual: bool = False,
) -> Tensor:
    """Multiply a picture by whatever gates are given.

        y[n, c, h, w] = x[n, c, h, w] (r + g)
        g = channel[n, c] row[n, c, h] column[n, c, w] spatial[n, 0, h, w]

    r is 1 with ``residual`` and 0 without, and a gate that is not given is 1. x is read once and y
    written once, in either layout; the backward pass keeps x and the gates, and no product. Half
    precision is multiplied in float32 and rounded once. Exported graphs hold standard products.

    Args:
        x: The picture, contiguous or channels-last; other layouts are copied. Shape (N, C, H, W).
        channel: Shape (N, C). Gates are float32 or in the dtype of x (float64 for float64).
        row: Shape (N, C, H).
        column: Shape (N, C, W).
        spatial: Shape (N, 1, H, W).
        residual: Add x.

    Returns:
        The gated picture, in the dtype and the layout of x. Shape (N, C, H, W).

    Raises:
        TypeError: x is not floating point, or a gate has another dtype.
        ValueError: x is not 4-D, no gate is given, a gate does not fit, or devices differ.

    Example:
        >>> x, channel = torch.ones(1, 2, 1, 3), torch.tensor([[2.0, 3.0]])
        >>> apply_gates(x, channel=channel, residual=True).flatten().tolist()
        [3.0, 3.0, 3.0, 4.0, 4.0, 4.0]
    """
    check_picture("apply_gates", x, empty=())
    n, c, height, width = x.shape
    shapes = ((n, c), (n, c, height), (n, c, width), (n, 1, height, width))
    if channel is None and row is None and column is None and spatial is None:
        raise ValueError(f"apply_gates: no gate is given; give one or more of {', '.join(_AXES)}")
    gates = [
        gate if gate is None else as_gate("apply_gates", name, gate, x, shape, axes)
        for (name, axes), gate, shape in zip(
            _AXES.items(), (channel, row, column, spatial), shapes, strict=True
        )
    ]
    if exporting():
        return reference.forward(x, *gates, residual)
    x = dense(x)
    if torch.compiler.is_compiling() and operator.choose(x.device.type, x.dtype) == "reference":
        return reference.forward(
            x, *gates, residual
        )  # for the compiler to fuse with what is around
    return torch.ops.mmattn.apply_gates(x, *gates, residual)
