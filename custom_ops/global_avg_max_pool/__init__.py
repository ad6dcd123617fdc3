"""Average and maximum of every channel in one pass, as CBAM's channel gate needs them."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import check_image
from .._layout import to_dense
from .._operator import is_exporting
from . import reference
from .op import operator


def global_avg_max_pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """Average and maximum over all positions.

        mean[n, c] = sum_{h, w} x[n, c, h, w] / (H W);   max[n, c] = max_{h, w} x[n, c, h, w]

    In plain torch: ``x.mean((2, 3)), x.flatten(2).max(2).values``.

    Each number of x is read once, in either layout. The gradient of a maximum goes to the first
    position that has it, row by row, as with ``max_pool2d`` (``amax`` shares it among all of them,
    for instance among all zeros of a ReLU). A channel that holds a NaN gives NaN. Nothing of the
    size of x is kept for the backward pass. Exported graphs hold standard reductions.

    Args:
        x: Image, contiguous or channels-last; other layouts are copied. Shape (N, C, H, W).

    Returns:
        mean and max, float32 (float64 for float64), also for half-precision x and under autocast.
        Shape (N, C) each.

    Raises:
        TypeError: x is not floating point.
        ValueError: x is not 4-D, or H or W is 0.

    Example:
        >>> mean, maximum = global_avg_max_pool(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
        >>> mean.item(), maximum.item()
        (3.0, 6.0)
    """
    check_image("global_avg_max_pool", x)
    if is_exporting():
        return reference.forward(x)[:2]
    x = to_dense(x)
    if torch.compiler.is_compiling() and operator.choose(x.device.type, x.dtype) == "reference":
        # The compiler fuses plain torch with the operations around it.
        return reference.forward(x)[:2]
    return torch.ops.mmattn.global_avg_max_pool(x)[:2]
