"""Adaptive average pooling that can be exported with free sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.ops import is_exporting


def adaptive_avg_pool2d(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return the means of a grid of cells, as ``torch.nn.functional.adaptive_avg_pool2d``.

    Cell i of n covers rows floor(i H / n) to ceil((i + 1) H / n) - 1; cells overlap where n does
    not divide H, and repeat rows where n > H. The exporter to ONNX knows that function only for
    heights and widths that are fixed, so an exported graph has two products with matrices instead.

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


def cell_weights(length: int, cells: int, like: Tensor) -> Tensor:
    """Return the weight of each of ``length`` entries in the mean of each cell.

    Args:
        length: Number of entries of a line.
        cells: Number of cells.
        like: Tensor whose dtype and device the result has.

    Returns:
        (cells, length); rows sum to 1.
    """
    index = torch.arange(cells, device=like.device)[:, None]
    start = index * length // cells
    end = ((index + 1) * length + cells - 1) // cells
    entry = torch.arange(length, device=like.device)
    inside = ((entry >= start) & (entry < end)).to(like.dtype)
    return inside / (end - start).to(like.dtype)
