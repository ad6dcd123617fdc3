"""Sums over moved windows with weights of each position's own.

A window of k x k positions lies around its position as far as the map has them; at the borders it
is moved inwards, so that every window has k x k cells of the map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def window_starts(length: int, kernel: int, device: torch.device) -> Tensor:
    """Return the first entry of the window of each of ``length`` entries, (length,) integers.

    Example:
        >>> window_starts(6, 3, torch.device("cpu")).tolist()
        [0, 0, 1, 2, 3, 3]
    """
    index = torch.arange(length, device=device)
    return (index - kernel // 2).clamp(min=0, max=length - kernel)


def relative_biases(table: Tensor, size: Sequence[int]) -> Tensor:
    """Return for each position and cell the entry of their difference in a table.

    Args:
        table: Shape (G, 2 k - 1, 2 k - 1); entry cell - position + k - 1.
        size: Height H and width W, at least k.

    Returns:
        (G, H, W, k, k)
    """
    kernel = (table.shape[1] + 1) // 2
    for dim, length in zip((1, 2), size, strict=True):
        position = torch.arange(length, device=table.device)
        first = window_starts(length, kernel, table.device) - position + kernel - 1
        cells = first[:, None] + torch.arange(kernel, device=table.device)
        # The second line of a table is now at 3, behind the positions and cells of the first.
        at = dim if dim == 1 else 3
        table = table.index_select(at, cells.flatten()).unflatten(at, (length, kernel))
    return table.transpose(2, 3)


def sum_windows(values: Tensor, weights: Tensor) -> Tensor:
    """Return y[p] = sum of weights[p, cell] values[cell] over the cells of p's window.

    Args:
        values: Feature maps with channels last, in G groups of d channels. Shape (N, H, W, G d), H
            and W at least k.
        weights: Shape (N, H, W, G, k, k).

    Returns:
        (N, H, W, G d)
    """
    n, height, width, channels = values.shape
    groups, kernel = weights.shape[3:5]
    rows = window_starts(height, kernel, values.device)
    columns = window_starts(width, kernel, values.device)
    cells = (columns[:, None] + torch.arange(kernel, device=values.device)).flatten()
    across = values.index_select(2, cells)  # (N, H, W k, G d)
    result = None
    for row in range(kernel):
        line = across.index_select(1, rows + row)
        line = line.reshape(n, height, width, kernel, groups, channels // groups)
        # (N, H, W, k, G, 1): a sum of products is faster than as many small matrix products.
        scale = weights[:, :, :, :, row].transpose(3, 4).unsqueeze(5)
        part = (line * scale).sum(3)
        result = part if result is None else result + part
    assert result is not None
    return result.flatten(3)
