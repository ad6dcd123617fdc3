"""Decide which anchor points learn which box, by how well each classifies and locates it.

Feng et al., TOOD, ICCV 2021, sections 3.2-3.3, for a whole batch at once. For the box g of an
image and a point a with its predicted box, with s the score of g's class there:
    metric(a, g) = s^alpha * max(CIoU(a, g), 0)^beta
1. Candidates of g: the points inside it, of metric above 0; of those the ``topk`` best, the first
   in order where metrics are equal.
2. A point that several boxes claim goes to the one with the highest CIoU, the first of equals.
3. Target score of a point: metric / (largest metric of g's points) * (largest CIoU of g's points).
A box without a point inside, or an image without boxes, gets no points.

Only the few pairs of a box and a point inside it are computed, and only the assigned points are
returned: no tensor of boxes x points x classes is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmattn.errors import DataError
from mmattn.layers.checks import require_at_least
from mmattn.layers.detection.box_iou import complete_iou
from mmattn.layers.detection.levels import gather_levels
from mmattn.ops import accumulate_dtype, autocast_off

# A point on a border is outside; the distance is in pixels.
_INSIDE = 1e-9


class Assignment(NamedTuple):
    """Points that learn a box, ordered by image and point; P of them, each once.

    Attributes:
        image: (P,) int64, index in the batch.
        anchor: (P,) int64, index of the point.
        box: (P,) int64, index of the box in its image.
        target: (P,), target score of the box's class, above 0 and up to 1.
    """

    image: Tensor
    anchor: Tensor
    box: Tensor
    target: Tensor


class TaskAlignedAssigner:
    """Assign the boxes of a batch of images to points.

    Args:
        topk: Points per box at most.
        alpha: Exponent of the score.
        beta: Exponent of the CIoU.
        chunk: Pairs of a box and a point that are looked at together at most (but for one box a
            time at least), which bounds the memory: about 100 bytes each where all are inside.
    """

    def __init__(
        self, topk: int = 10, alpha: float = 0.5, beta: float = 6.0, chunk: int = 1 << 21
    ) -> None:
        require_at_least(1, topk=topk, chunk=chunk)
        self.topk = topk
        self.alpha = alpha
        self.beta = beta
        self.chunk = chunk

    @torch.no_grad()
    def __call__(
        self,
        cls_logits: Tensor | Sequence[Tensor],
        boxes: Tensor,
        points: Tensor,
        gt_boxes: Tensor,
        gt_labels: Tensor,
        gt_valid: Tensor,
    ) -> Assignment:
        """Return which points learn which boxes.

        Args:
            cls_logits: Logits of the classes, (N, C, A), or per level (N, C, A_l) with the A_l
                adding up to A.
            boxes: (N, A, 4), predicted x1, y1, x2, y2 in pixels.
            points: (A, 2) in pixels.
            gt_boxes: (N, G, 4) x1, y1, x2, y2 in pixels, padded to the same G.
            gt_labels: (N, G) int64; anything where the box is padding.
            gt_valid: (N, G) bool, False where the box is padding.

        Raises:
            DataError: A label is not below the number of classes.
        """
        levels = [cls_logits] if isinstance(cls_logits, Tensor) else list(cls_logits)
        image, index = gt_valid.nonzero(as_tuple=True)
        targets = gt_boxes[image, index].to(accumulate_dtype(boxes.dtype))
        labels = gt_labels[image, index]
        _check_labels(labels, levels[0].shape[1])
        with autocast_off(boxes.device.type):
            found = [
                self._candidates(levels, boxes, points, image[part], targets[part], labels[part])
                for part in _parts(len(targets), max(1, self.chunk // max(1, len(points))))
            ]
            starts = range(0, len(targets), max(1, self.chunk // max(1, len(points))))
            if not found:
                none = index.new_zeros(0)
                return Assignment(none, none, none, targets.new_zeros(0))
            row = torch.cat([f[0] + start for f, start in zip(found, starts, strict=True)])
            anchor, metric, overlap = (torch.cat([f[i] for f in found]) for i in (1, 2, 3))
            keep = _best_claim(image[row] * len(points) + anchor, overlap)
            row, anchor, metric, overlap = row[keep], anchor[keep], metric[keep], overlap[keep]
            best_metric = _largest(metric, row, len(targets))
            best_overlap = _largest(overlap, row, len(targets))
            target = metric / best_metric[row] * best_overlap[row]
        return Assignment(image[row], anchor, index[row], target)

    def _candidates(
        self,
        levels: list[Tensor],
        boxes: Tensor,
        points: Tensor,
        image: Tensor,
        targets: Tensor,
        labels: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return row of the box, point, metric and CIoU of every candidate of some boxes."""
        row, anchor = _inside(points, targets).nonzero(as_tuple=True)
        overlap = complete_iou(boxes[image[row], anchor], targets[row]).clamp_(min=0)
        score = gather_levels(levels, image[row], anchor, labels[row]).to(overlap.dtype).sigmoid()
        metric = score.pow(self.alpha) * overlap.pow(self.beta)
        keep = _top(metric, row, len(targets), self.topk)
        return row[keep], anchor[keep], metric[keep], overlap[keep]


def _parts(length: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, length, size)]


def _check_labels(labels: Tensor, classes: int) -> None:
    if len(labels) and not 0 <= (low := int(labels.min())) <= (high := int(labels.max())) < classes:
        wrong = low if low < 0 else high
        raise DataError(
            f"a box has label {wrong}, but the model has {classes} classes, 0 to {classes - 1}; "
            f"set num_classes, or the dataset's metainfo, so that they agree"
        )


def _inside(points: Tensor, targets: Tensor) -> Tensor:
    """Return whether points (A, 2) lie inside boxes (B, 4), as (B, A) bool."""
    x, y = points.to(targets.dtype).unbind(-1)
    x1, y1, x2, y2 = targets[:, :, None].unbind(1)
    inside = x > x1 + _INSIDE
    inside &= x < x2 - _INSIDE
    inside &= y > y1 + _INSIDE
    inside &= y < y2 - _INSIDE
    return inside


def _top(metric: Tensor, row: Tensor, rows: int, topk: int) -> Tensor:
    """Return indices of the ``topk`` largest positive metrics of every row, ``row`` ascending."""
    count = torch.bincount(row, minlength=rows)
    start = count.cumsum(0) - count
    table = metric.new_zeros((rows, max(topk, int(count.max()))))
    table[row, torch.arange(len(row), device=row.device) - start[row]] = metric
    # torch.topk says nothing about the order of equal numbers: only the k-th value is its, and
    # which of the candidates with just that value are taken is counted here.
    last = table.topk(topk, dim=1).values[:, -1][row]
    keep = metric > last
    tied = ((metric == last) & (metric > 0)).nonzero()[:, 0]
    room = topk - torch.bincount(row[keep], minlength=rows)
    before = torch.bincount(row[tied], minlength=rows)
    before = before.cumsum(0) - before
    rank = torch.arange(len(tied), device=row.device) - before[row[tied]]
    keep[tied[rank < room[row[tied]]]] = True
    return keep.nonzero()[:, 0]


def _best_claim(place: Tensor, overlap: Tensor) -> Tensor:
    """Return indices of the largest overlap of every place, ordered by place; first of equals."""
    by_overlap = overlap.argsort(descending=True, stable=True)
    order = by_overlap[place[by_overlap].argsort(stable=True)]
    ordered = place[order]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return order[first]


def _largest(values: Tensor, row: Tensor, rows: int) -> Tensor:
    """Return the largest of the positive values of every row, 0 for a row without any."""
    return values.new_zeros(rows).scatter_reduce_(0, row, values, "amax")
