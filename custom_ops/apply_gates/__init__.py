"""Scale an image by gates over channels, rows, columns and positions, all in one pass."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import as_gate, check_image
from .._layout import to_dense
from .._operator import is_exporting
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
    """Multiply an image by up to four gates, and add the image itself if wanted.

        y[n, c, h, w] = x[n, c, h, w] (r + g)
        g = channel[n, c] row[n, c, h] column[n, c, w] spatial[n, 0, h, w]

    where r is 1 with ``residual`` and 0 without, and a gate that is not given is 1. In plain torch:

        g = channel[:, :, None, None] * row[..., None] * column[:, :, None] * spatial
        y = x * g + x if residual else x * g

    x is read once and y written once, in either layout; the backward pass keeps x and the gates but
    no product. Half precision is multiplied in float32 and rounded once. Exported graphs hold
    standard products.

    Args:
        x: Image, contiguous or channels-last; other layouts are copied. Shape (N, C, H, W).
        channel: Gate of each channel, as all gates in float32 or in the dtype of x (float64 for
            float64). Shape (N, C).
        row: Gate of each row of a channel. Shape (N, C, H).
        column: Gate of each column of a channel. Shape (N, C, W).
        spatial: Gate of each position. Shape (N, 1, H, W).
        residual: Whether to add x.

    Returns:
        Gated image, in the dtype and the layout of x. Shape (N, C, H, W).

    Raises:
        TypeError: x is not floating point, or a gate has another dtype.
        ValueError: x is not 4-D, no gate is given, a gate does not fit, or devices differ.

    Example:
        >>> x, channel = torch.ones(1, 2, 1, 3), torch.tensor([[2.0, 3.0]])
        >>> apply_gates(x, channel=channel, residual=True).flatten().tolist()
        [3.0, 3.0, 3.0, 4.0, 4.0, 4.0]
    """
    check_image("apply_gates", x, nonempty=())
    n, c, height, width = x.shape
    shapes = ((n, c), (n, c, height), (n, c, width), (n, 1, height, width))
    if channel is None and row is None and column is None and spatial is None:
        raise ValueError(f"apply_gates: no gate is given; give one or more of {', '.join(_AXES)}")
    channel, row, column, spatial = (
        gate if gate is None else as_gate("apply_gates", name, gate, x, shape, axes)
        for (name, axes), gate, shape in zip(
            _AXES.items(), (channel, row, column, spatial), shapes, strict=True
        )
    )
    if is_exporting():
        return reference.forward(x, channel, row, column, spatial, residual)
    x = to_dense(x)
    if torch.compiler.is_compiling() and operator.choose(x.device.type, x.dtype) == "reference":
        # The compiler fuses plain torch with the operations around it.
        return reference.forward(x, channel, row, column, spatial, residual)
    return torch.ops.mmattn.apply_gates(x, channel, row, column, spatial, residual)
