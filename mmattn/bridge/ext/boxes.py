"""Overlap of axis-aligned boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from ._precision import working

__all__ = ["bbox_overlaps"]


def bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int
) -> None:
    """Fill ``ious``, (M,) for pairs or (M, N) for all combinations; 0/0 stays nan as in mmcv.

    Args:
        bboxes1: (M, 4) as x1, y1, x2, y2.
        bboxes2: (N, 4), and N = M when ``aligned``.
        mode: 0 divides by the union, 1 by the area of the first box.
        offset: 1 where x2 and y2 name the last pixel inside the box.
    """
    first, second = working(bboxes1), working(bboxes2)
    if not aligned:
        first = first[:, None]
    sides = torch.minimum(first[..., 2:], second[..., 2:])
    sides = sides - torch.maximum(first[..., :2], second[..., :2]) + offset
    overlap = sides.clamp(min=0).prod(dim=-1)
    area = (first[..., 2:] - first[..., :2] + offset).prod(dim=-1)
    if mode == 0:
        area = area + (second[..., 2:] - second[..., :2] + offset).prod(dim=-1) - overlap
    ious.copy_(overlap / area)
