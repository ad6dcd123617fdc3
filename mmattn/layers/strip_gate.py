"""Means of rows and columns, and the product of an image with their gates.

The operators read an image once, in either layout. On few values that lie channel by channel, plain
torch is faster: calling the operators costs more than their single pass saves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmattn.ops import apply_gates, row_column_means

# As for one gate per channel (``mmattn.layers.channel_gate``).
_FEW = 2**18


def strip_means(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means of rows and columns, as ``mmattn.ops.row_column_means``.

    Shape (N, C, H, W) -> (N, C, H) and (N, C, W), at least float32.

    Example:
        >>> rows, columns = strip_means(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
        >>> rows.tolist(), columns.tolist()
        ([[[1.5, 4.5]]], [[[2.0, 4.0]]])
    """
    return (x.mean(3), x.mean(2)) if _is_plain_faster(x) else row_column_means(x)


def scale_strips(x: Tensor, row: Tensor, column: Tensor, *, residual: bool = False) -> Tensor:
    """Multiply an image by the gates of its rows and columns, as ``mmattn.ops.apply_gates``.

    Args:
        x: Shape (N, C, H, W).
        row: At least float32. Shape (N, C, H).
        column: At least float32. Shape (N, C, W).
        residual: Whether the image is added.

    Returns:
        (N, C, H, W)
    """
    if not _is_plain_faster(x) or row.dtype != x.dtype or column.dtype != x.dtype:
        return apply_gates(x, row=row, column=column, residual=residual)
    y = x * (row.unsqueeze(3) * column.unsqueeze(2))
    return y + x if residual else y


def _is_plain_faster(x: Tensor) -> bool:
    if x.dtype not in (torch.float32, torch.float64) or not x.is_cpu or not 0 < x.numel() < _FEW:
        return False
    return x.is_contiguous() and not torch.compiler.is_compiling()
