"""Means of all rows and of all columns in one pass: what ELA and coordinate attention see."""

from __future__ import annotations

import torch
from torch import Tensor

from .._library import exporting
from .._pictures import check_picture, dense
from . import reference
from .op import operator


def strip_means(x: Tensor) -> tuple[Tensor, Tensor]:
    """Average every row over its width and every column over its height.

        over_width[n, c, h] = sum_w x[n, c, h, w] / W
        over_height[n, c, w] = sum_h x[n, c, h, w] / H

    Each number of x is read once, in either layout. Nothing is kept for the backward pass.
    Exported graphs hold standard reductions.

    Args:
        x: The picture, contiguous or channels-last; other layouts are copied. Shape (N, C, H, W).

    Returns:
        over_width, shape (N, C, H), and over_height, shape (N, C, W): float32 (float64 for
        float64), also for half-precision x and under autocast.

    Raises:
        TypeError: x is not floating point.
        ValueError: x is not 4-D, or H or W is 0.

    Example:
        >>> rows, columns = strip_means(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
        >>> rows.tolist(), columns.tolist()
        ([[[1.5, 4.5]]], [[[2.0, 4.0]]])
    """
    check_picture("strip_means", x)
    if exporting():
        return reference.forward(x)
    x = dense(x)
    if torch.compiler.is_compiling() and operator.choose(x.device.type, x.dtype) == "reference":
        return reference.forward(x)  # for the compiler to fuse with what is around
    return torch.ops.mmattn.strip_means(x)
