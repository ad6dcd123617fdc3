"""Non-maximum suppression: greedy, soft, and grouping."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor

from ._precision import working

__all__ = ["nms", "nms_match", "softnms"]


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the kept boxes, best first.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,).
        iou_threshold: Boxes that overlap a kept one by more are dropped.
        offset: 0, or 1 where x2 and y2 name the last pixel inside the box.
    """
    boxes, scores = working(boxes), working(scores)
    if offset:
        # With the last pixel's far edge as corner, every width and overlap grows by `offset`.
        boxes = torch.cat((boxes[:, :2], boxes[:, 2:] + offset), dim=1)
    return torchvision.ops.nms(boxes, scores, _rounded(iou_threshold, boxes))


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (Bodla et al., ICCV 2017): overlapping boxes lose score instead of vanishing.

    Args:
        boxes: (N, 4).
        scores: (N,).
        dets: (N, 5), receives the kept boxes and their final scores in its first rows.
        iou_threshold: Overlap from which methods 0 and 1 act.
        sigma: Width of method 2.
        min_score: Boxes that fall below are dropped (the paper's threshold on the final score).
        method: 0 plain NMS, 1 linear ``1 - iou``, 2 Gaussian ``exp(-iou² / sigma)``.
        offset: As for ``nms``.

    Returns:
        The kept boxes' indices in the order of their final scores.
    """
    rest = torch.cat((working(boxes), working(scores)[:, None]), dim=1)
    index = torch.arange(len(boxes), device=boxes.device)
    threshold = _rounded(iou_threshold, rest)
    kept = []
    while len(rest):
        best = int(rest[:, 4].argmax())
        dets[len(kept)] = rest[best]
        kept.append(index[best].clone())
        # mmcv moves the first candidate to the freed place; equal scores are met in that order.
        top = rest[best].clone()
        rest[best], index[best] = rest[0].clone(), index[0].clone()
        rest, index = rest[1:], index[1:]
        iou = _iou(top, rest, offset)
        if method == 2:
            # Two boxes without area overlap by 0/0; mmcv's score becomes nan, ours stays.
            rest[:, 4] *= torch.exp(-(iou * iou) / sigma).nan_to_num(1.0)
        else:
            decay = torch.zeros_like(iou) if method == 0 else 1 - iou
            rest[:, 4] *= torch.where(iou >= threshold, decay, torch.ones_like(iou))
        rest, index = _drop(rest, index, ~(rest[:, 4] < min_score))
    return torch.stack(kept) if kept else index


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Groups of boxes: each kept one, followed by those it suppresses (iou >= threshold).

    Args:
        dets: (N, 5), boxes and scores.
    """
    dets = working(dets)
    threshold = _rounded(iou_threshold, dets)
    order = dets[:, 4].argsort(descending=True, stable=True)
    groups = []
    while len(order):
        rest = order[1:]
        matched = _iou(dets[order[0]], dets[rest], 0) >= threshold
        groups.append([int(order[0]), *rest[matched].tolist()])
        order = rest[~matched]
    return groups


def _rounded(threshold: float, like: Tensor) -> float:
    """``threshold`` as the boxes' type sees it: an overlap of 0.6 must not exceed 0.6."""
    return torch.tensor(threshold, dtype=like.dtype).item()


def _iou(box: Tensor, boxes: Tensor, offset: int) -> Tensor:
    """Overlap of one box (4+,) with boxes (N, 4+); nan where both are empty."""
    sides = torch.minimum(box[2:4], boxes[:, 2:4]) - torch.maximum(box[:2], boxes[:, :2]) + offset
    inside = sides.clamp(min=0).prod(dim=1)
    areas = (boxes[:, 2:4] - boxes[:, :2] + offset).prod(dim=1)
    area = (box[2:4] - box[:2] + offset).prod()
    return inside / (area + areas - inside)


def _drop(rest: Tensor, index: Tensor, good: Tensor) -> tuple[Tensor, Tensor]:
    """Keep the ``good`` candidates, filling each gap with the last of them, as mmcv does."""
    count = int(good.sum())
    if count == len(good):
        return rest, index
    gaps = (~good[:count]).nonzero().flatten()
    fillers = (good[count:].nonzero().flatten() + count).flip(0)
    rest[gaps], index[gaps] = rest[fillers], index[fillers]
    return rest[:count], index[:count]
