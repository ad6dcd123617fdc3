"""Anchor points of feature maps, and boxes from the distances predicted at them.

A detector without anchor boxes predicts at every cell the distances l, t, r, b from the cell's
centre to the sides of a box, each as a distribution over ``reg_max`` bins whose mean counts, in
strides (Li et al., Generalized Focal Loss, NeurIPS 2020, Eq. 4):
    d = stride * sum_i i softmax(logits)_i,   i = 0 .. reg_max - 1
    (x1, y1, x2, y2) = (x - l, y - t, x + r, y + b)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmattn.ops import accumulate_dtype, autocast_off


def anchor_points(
    shapes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    offset: float = 0.5,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Return the anchor points of all levels, row by row, and the stride of each.

    Args:
        shapes: Height and width of every level's feature map.
        strides: Pixels from one cell to the next, per level.
        offset: Place of the point in its cell, in cells; 0.5 is the centre.
        device: Where the tensors are made.
        dtype: Their floating-point type; half precision cannot hold the coordinates of large
            images exactly.

    Returns:
        Points x, y of shape (A, 2) in pixels, and strides of shape (A,)

    Raises:
        ValueError: The numbers of shapes and strides differ.

    Example:
        >>> points, strides = anchor_points([(1, 2), (1, 1)], [8, 16])
        >>> points.tolist(), strides.tolist()
        ([[4.0, 4.0], [12.0, 4.0], [8.0, 8.0]], [8.0, 8.0, 16.0])
    """
    if len(shapes) != len(strides):
        raise ValueError(
            f"one stride per feature map is needed: got {len(shapes)} maps and strides "
            f"{tuple(strides)}"
        )
    points, steps = [], []
    for (height, width), stride in zip(shapes, strides, strict=True):
        x = (torch.arange(width, device=device, dtype=dtype) + offset) * stride
        y = (torch.arange(height, device=device, dtype=dtype) + offset) * stride
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        points.append(torch.stack((columns, rows), dim=-1).flatten(0, 1))
        steps.append(torch.full((height * width,), float(stride), device=device, dtype=dtype))
    return torch.cat(points), torch.cat(steps)


def expected_bins(logits: Tensor, dim: int) -> Tensor:
    """Return the mean of distributions over the bins 0, 1, … along ``dim``, in float32 at least.

    Args:
        logits: Any shape; ``dim`` holds the bins, and is missing from the result.
    """
    with autocast_off(logits.device.type):
        probabilities = logits.to(accumulate_dtype(logits.dtype)).softmax(dim)
        bins = torch.arange(
            logits.shape[dim], device=logits.device, dtype=probabilities.dtype
        ).reshape([-1] + [1] * (logits.dim() - 1 - dim % logits.dim()))
        return (probabilities * bins).sum(dim)


def decode_boxes(box_logits: Tensor, points: Tensor, strides: Tensor, reg_max: int) -> Tensor:
    """Return the boxes that distributions of distances describe.

    Args:
        box_logits: (…, A, 4 * reg_max): the bins of l, then those of t, r and b.
        points: (A, 2) in pixels, as of :func:`anchor_points`; also (…, A, 2).
        strides: (A,), pixels per unit of distance; also (…, A).
        reg_max: Bins per side.

    Returns:
        (…, A, 4): x1, y1, x2, y2 in pixels, float32 at least. Boxes may reach over the image.

    Raises:
        ValueError: The last dimension is not 4 * reg_max.
    """
    if box_logits.shape[-1] != 4 * reg_max:
        raise ValueError(
            f"box_logits need 4 * reg_max = {4 * reg_max} channels last, got shape "
            f"{tuple(box_logits.shape)}"
        )
    distances = expected_bins(box_logits.unflatten(-1, (4, reg_max)), dim=-1)
    return boxes_from_distances(distances, points, strides)


def boxes_from_distances(distances: Tensor, points: Tensor, strides: Tensor) -> Tensor:
    """Return boxes (…, A, 4) in pixels from distances (…, A, 4) in strides."""
    distances = distances * strides[..., None].to(distances.dtype)
    points = points.to(distances.dtype)
    return torch.cat((points - distances[..., :2], points + distances[..., 2:]), dim=-1)
