"""Overlap of pairs of boxes: IoU, and complete IoU with distance and aspect ratio."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmattn.ops import accumulate_dtype, autocast_off

# Smallest divisor: keeps quotients of empty boxes finite, and changes none of others.
_EPS = 1e-7


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union of pairs of boxes, 0 where both are empty.

    Args:
        first: (…, 4): x1, y1, x2, y2, with x1 <= x2 and y1 <= y2.
        second: (…, 4); the leading dimensions are broadcast.

    Returns:
        (…), float32 at least, 0 to 1
    """
    with autocast_off(first.device.type):
        return _iou(*_raised(first, second))


def complete_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the complete IoU of pairs of boxes (Zheng et al., AAAI 2020, Eqs. 7-11).

        CIoU = IoU - rho^2 / c^2 - alpha v
        v = 4 / pi^2 (arctan(w_2 / h_2) - arctan(w_1 / h_1))^2,   alpha = v / (1 - IoU + v)
    with rho the distance of the centres, c the diagonal of the smallest box around both; alpha
    weighs and has no gradient. Empty boxes give finite values and gradients.

    Args:
        first: (…, 4): x1, y1, x2, y2, with x1 <= x2 and y1 <= y2.
        second: (…, 4); the leading dimensions are broadcast.

    Returns:
        (…), float32 at least whatever autocast says, above -2 and up to 1
    """
    with autocast_off(first.device.type):
        first, second = _raised(first, second)
        iou = _iou(first, second)
        low = torch.minimum(first[..., :2], second[..., :2])
        high = torch.maximum(first[..., 2:], second[..., 2:])
        diagonal = (high - low).square().sum(-1)
        shift = first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]
        distance = shift.square().sum(-1) / 4
        v = (_angle(second) - _angle(first)).square() * (4 / math.pi**2)
        with torch.no_grad():
            alpha = v / (1 - iou + v).clamp(min=_EPS)
        return iou - distance / diagonal.clamp(min=_EPS) - alpha * v


def _raised(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    dtype = accumulate_dtype(torch.promote_types(first.dtype, second.dtype))
    return first.to(dtype), second.to(dtype)


def _iou(first: Tensor, second: Tensor) -> Tensor:
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    union = _area(first) + _area(second) - overlap
    return overlap / union.clamp(min=_EPS)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _angle(boxes: Tensor) -> Tensor:
    # A side that is clamped has no gradient; without, an empty box would divide 0 by 0 there.
    width = (boxes[..., 2] - boxes[..., 0]).clamp(min=_EPS)
    height = (boxes[..., 3] - boxes[..., 1]).clamp(min=_EPS)
    return torch.atan2(width, height)
