"""From classes and masks of queries to instances, a panoptic map or a semantic map.

As the authors' inference does it; with p_i the class probabilities of query i, s_i its mask's
probabilities, and everything computed on some rows of an image at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .mask_bands import ResizedMasks


@dataclass(frozen=True)
class Instances:
    """Objects of an image.

    Attributes:
        labels: (N,) int64
        scores: (N,)
        boxes: (N, 4) x1, y1, x2, y2 in pixels, the smallest ones around the masks; x2 and y2 are
            one behind the last pixel, and all are 0 for an empty mask.
        masks: (N, H, W) bool
    """

    labels: Tensor
    scores: Tensor
    boxes: Tensor
    masks: Tensor


def instances(
    class_logits: Tensor, masks: ResizedMasks, num_things: int, max_per_image: int = 100
) -> Instances:
    """Return the best pairs of a query and a class; a query may appear with several classes.

    The score is p_i(c) times the mean of s_i within the mask, which is where s_i > 0.5; classes
    that are no things are dropped after the best have been chosen, as by the authors.

    Args:
        class_logits: (Q, K + 1)
        masks: Q masks.
        num_things: Number of classes of things, the first ones.
        max_per_image: How many pairs are chosen.
    """
    scores = class_logits.softmax(1)[:, :-1]
    classes = scores.shape[1]
    best, order = scores.flatten().topk(min(max_per_image, scores.numel()))
    labels = order % classes
    things = labels < num_things
    best, labels, queries = best[things], labels[things], order[things] // classes
    # Each mask once, though several classes may share it.
    used, place = queries.unique(return_inverse=True)
    chosen = masks[used]
    binary = torch.zeros(len(used), *masks.size, dtype=torch.bool, device=scores.device)
    total = scores.new_zeros(len(used))
    for start, stop, logits in chosen.bands():
        inside = logits > 0
        binary[:, start:stop] = inside
        total += logits.sigmoid().mul_(inside).sum((1, 2))
    quality = total / (binary.sum((1, 2)) + 1e-6)
    boxes = boxes_of(binary)
    return Instances(labels, best * quality[place], boxes[place], binary[place])


def panoptic(
    class_logits: Tensor,
    masks: ResizedMasks,
    num_things: int,
    *,
    offset: int,
    object_mask_thr: float = 0.8,
    iou_thr: float = 0.8,
    filter_low_score: bool = True,
) -> Tensor:
    """Return the map of segments, (H, W) int32.

    Queries take part whose best class is one, with p > ``object_mask_thr``. A pixel belongs to the
    query with the largest p s, and only if s >= 0.5 there. A query is dropped, with its pixels, if
    the pixels where it is the largest are fewer than ``iou_thr`` times those where s >= 0.5. Stuff
    of the same class is one segment.

    Args:
        class_logits: (Q, K + 1)
        masks: Q masks.
        num_things: Number of classes of things, the first ones.
        offset: A segment is class + offset x number of the object, from 1; of stuff, the class;
            K is void.
        object_mask_thr: Least class probability.
        iou_thr: Least share of a query's mask that other queries leave.
        filter_low_score: False keeps pixels with s < 0.5 too, as mmdet does by default.
    """
    num_classes = class_logits.shape[1] - 1
    scores, labels = class_logits.softmax(1).max(1)
    keep = (labels != num_classes) & (scores > object_mask_thr)
    scores, labels, masks = scores[keep], labels[keep], masks[keep]
    count = len(labels)
    result = torch.full(masks.size, num_classes, dtype=torch.int32, device=scores.device)
    if count == 0:
        return result
    winner = torch.zeros(masks.size, dtype=torch.int16, device=scores.device)
    areas = torch.zeros(3, count, dtype=torch.long, device=scores.device)
    certain = torch.zeros(masks.size, dtype=torch.bool, device=scores.device)
    for start, stop, logits in masks.bands():
        inside = logits.sigmoid()
        best = (scores[:, None, None] * inside).argmax(0)
        sure = inside >= 0.5
        won = sure.gather(0, best[None])[0]
        areas[0] += torch.bincount(best.flatten(), minlength=count)
        areas[1] += sure.sum((1, 2))
        areas[2] += torch.bincount(best[won], minlength=count)
        winner[start:stop], certain[start:stop] = best, won
    segments = _segments(
        areas.tolist(), labels.tolist(), num_classes, num_things, offset, iou_thr, filter_low_score
    )
    result = torch.tensor(segments, dtype=torch.int32, device=scores.device)[winner.long()]
    return result.masked_fill_(~certain, num_classes) if filter_low_score else result


def _segments(
    areas: list[list[int]],
    labels: list[int],
    void: int,
    num_things: int,
    offset: int,
    iou_thr: float,
    filter_low_score: bool,
) -> list[int]:
    """Return the segment of each query, ``void`` for those that are dropped."""
    segments, objects = [], 0
    for won, own, common, label in zip(*areas, labels, strict=True):
        empty = won == 0 or own == 0 or (filter_low_score and common == 0)
        if empty or won / own < iou_thr:
            segments.append(void)
        elif label >= num_things:
            segments.append(label)
        else:
            objects += 1
            segments.append(label + objects * offset)
    return segments


def semantic_scores(class_logits: Tensor, masks: ResizedMasks) -> Tensor:
    """Return sum_i p_i(c) s_i of every class and pixel, (K, H, W)."""
    classes = class_logits.softmax(1)[:, :-1].t()
    result = classes.new_empty(len(classes), *masks.size)
    for start, stop, logits in masks.bands():
        result[:, start:stop] = (classes @ logits.sigmoid().flatten(1)).unflatten(
            1, (-1, masks.size[1])
        )
    return result


def semantic(class_logits: Tensor, masks: ResizedMasks) -> Tensor:
    """Return the class with the largest score of every pixel, (H, W) int64."""
    classes = class_logits.softmax(1)[:, :-1].t()
    result = torch.empty(masks.size, dtype=torch.long, device=classes.device)
    for start, stop, logits in masks.bands():
        scores = classes @ logits.sigmoid().flatten(1)
        result[start:stop] = scores.argmax(0).unflatten(0, (-1, masks.size[1]))
    return result


def boxes_of(masks: Tensor) -> Tensor:
    """Return the smallest boxes around masks (N, H, W) bool: (N, 4) float32."""
    sides = []
    for line in (masks.any(1), masks.any(2)):
        length = line.shape[1]
        low = line.int().argmax(1)
        high = length - line.flip(1).int().argmax(1)
        sides += [torch.where(line.any(1), side, 0) for side in (low, high)]
    return torch.stack([sides[0], sides[2], sides[1], sides[3]], dim=1).float()
