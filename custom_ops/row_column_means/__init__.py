"""Means of all rows and of all columns in one pass, as ELA and coordinate attention need them."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import check_image
from .._layout import to_dense
from .._operator import is_exporting
from . import reference
from .op import operator


def row_column_means(x: Tensor) -> tuple[Tensor, Tensor]:
    """Average every row over its width and every column over its height.

        row_means[n, c, h] = sum_w x[n, c, h, w] / W
        column_means[n, c, w] = sum_h x[n, c, h, w] / H

    In plain torch: ``x.mean(3), x.mean(2)``. Each number of x is read once, in either layout.
    Nothing is kept for the backward pass. Exported graphs hold standard reductions.

    Args:
        x: Image, contiguous or channels-last; other layouts are copied. Shape (N, C, H, W).

    Returns:
        row_means, shape (N, C, H), and column_means, shape (N, C, W), both float32 (float64 for
        float64), also for half-precision x and under autocast.

    Raises:
        TypeError: x is not floating point.
        ValueError: x is not 4-D, or H or W is 0.

    Example:
        >>> rows, columns = row_column_means(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
        >>> rows.tolist(), columns.tolist()
        ([[[1.5, 4.5]]], [[[2.0, 4.0]]])
    """
    check_image("row_column_means", x)
    if is_exporting():
        return reference.forward(x)
    x = to_dense(x)
    if torch.compiler.is_compiling() and operator.choose(x.device.type, x.dtype) == "reference":
        return reference.forward(x)  # the compiler fuses plain torch with the operations around it
    return torch.ops.mmattn.row_column_means(x)
