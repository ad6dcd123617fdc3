"""Mean and maximum of every channel in one pass: what CBAM's channel gate sees."""

from __future__ import annotations

import torch
from torch import Tensor

from .._library import exporting
from .._pictures import check_picture, dense
from . import reference
from .op import operator


def global_mean_max(x: Tensor) -> tuple[Tensor, Tensor]:
    """Average and maximum over all positions.

        mean[n, c] = sum_{h, w} x[n, c, h, w] / (H W);   max[n, c] = max_{h, w} x[n, c, h, w]

    Each number of x is read once, in either layout. The gradient of a maximum goes to the first
    position that has it, row by row, as that of ``max_pool2d`` does (and unlike ``amax``, which
    shares it among all, for instance all zeros of a ReLU). A channel with a NaN gives NaN. Nothing
    of the size of x is kept for the backward pass. Exported graphs hold standard reductions.

    Args:
        x: The picture, contiguous or channels-last; other layouts are copied. Shape (N, C, H, W).

    Returns:
        mean and max, float32 (float64 for float64), also for half-precision x and under autocast.
        Shape (N, C) each.

    Raises:
        TypeError: x is not floating point.
        ValueError: x is not 4-D, or H or W is 0.

    Example:
        >>> mean, maximum = global_mean_max(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
        >>> mean.item(), maximum.item()
        (3.0, 6.0)
    """
    check_picture("global_mean_max", x)
    if exporting():
        return reference.forward(x)[:2]
    x = dense(x)
    if torch.compiler.is_compiling() and operator.choose(x.device.type, x.dtype) == "reference":
        return reference.forward(x)[:2]  # for the compiler to fuse with what is around
    return torch.ops.mmattn.global_mean_max(x)[:2]
