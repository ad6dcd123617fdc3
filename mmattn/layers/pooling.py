"""Adaptive average pooling that can be exported with free sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.ops import is_exporting

_Cell = TypeVar("_Cell", int, Tensor)


def adaptive_avg_pool2d(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return the means of a grid of cells, as ``torch.nn.functional.adaptive_avg_pool2d``.

    Cells (see ``cell_bounds``) overlap where their number n does not divide H, and repeat rows
    where n > H. The exporter to ONNX knows that function only for heights and widths that are
    fixed, so an exported graph has two products with matrices instead.

    Args:
        x: Feature maps. Shape (N, C, H, W).
        size: Height and width of the grid.

    Returns:
        (N, C, height, width)
    """
    height, width = size
    if not is_exporting():
        return F.adaptive_avg_pool2d(x, (height, width))
    rows = cell_weights(x.shape[2], height, x)
    columns = cell_weights(x.shape[3], width, x)
    return rows @ (x @ columns.T)


def cell_bounds(cell: _Cell, length: int, cells: int) -> tuple[_Cell, _Cell]:
    """Return the first entry of a cell of a line, and the one behind its last.

    Cell i of n covers entries floor(i L / n) to ceil((i + 1) L / n) - 1.

    Args:
        cell: Number i of the cell, or a tensor of such numbers.
        length: Number L of entries of the line.
        cells: Number n of cells.

    Example:
        >>> [cell_bounds(cell, 7, 3) for cell in range(3)]
        [(0, 3), (2, 5), (4, 7)]
    """
    return cell * length // cells, ((cell + 1) * length + cells - 1) // cells


def cell_weights(length: int, cells: int, like: Tensor) -> Tensor:
    """Return the weight of each of ``length`` entries in the mean of each cell.

    Args:
        length: Number of entries of a line.
        cells: Number of cells.
        like: Tensor whose dtype and device the result has.

    Returns:
        (cells, length); rows sum to 1.
    """
    cell = torch.arange(cells, device=like.device)[:, None]
    start, end = cell_bounds(cell, length, cells)
    entry = torch.arange(length, device=like.device)
    inside = ((entry >= start) & (entry < end)).to(like.dtype)
    return inside / (end - start).to(like.dtype)
