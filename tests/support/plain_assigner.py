"""The task-aligned assignment of one image in loops over plain numbers, to compare with."""

from __future__ import annotations

import math
from collections.abc import Sequence

Box = Sequence[float]


def plain_complete_iou(first: Box, second: Box) -> float:
    """Complete IoU of two boxes, as the paper writes it."""
    widths = [box[2] - box[0] for box in (first, second)]
    heights = [box[3] - box[1] for box in (first, second)]
    across = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    down = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    union = widths[0] * heights[0] + widths[1] * heights[1] - across * down
    iou = across * down / max(union, 1e-7)
    around = (
        max(first[2], second[2]) - min(first[0], second[0]),
        max(first[3], second[3]) - min(first[1], second[1]),
    )
    centres = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in (first, second)]
    distance = (centres[0][0] - centres[1][0]) ** 2 + (centres[0][1] - centres[1][1]) ** 2
    angles = [
        math.atan2(max(width, 1e-7), max(height, 1e-7))
        for width, height in zip(widths, heights, strict=True)
    ]
    v = 4 / math.pi**2 * (angles[1] - angles[0]) ** 2
    alpha = v / max(1 - iou + v, 1e-7)
    return iou - distance / max(around[0] ** 2 + around[1] ** 2, 1e-7) - alpha * v


def plain_assign(
    logits: Sequence[Sequence[float]],
    boxes: Sequence[Box],
    points: Sequence[tuple[float, float]],
    gt: Sequence[tuple[Box, int]],
    topk: int = 10,
    alpha: float = 0.5,
    beta: float = 6.0,
) -> dict[int, tuple[int, float]]:
    """Return point -> (box, target score), of one image.

    Args:
        logits: Per point, the logits of all classes.
        boxes: Per point, the predicted box.
        points: Per point, x and y.
        gt: Boxes with their labels.
        topk: Points per box at most.
        alpha: Exponent of the score.
        beta: Exponent of the CIoU.
    """
    overlap: dict[tuple[int, int], float] = {}
    metric: dict[tuple[int, int], float] = {}
    claims: dict[int, list[int]] = {}
    for g, (box, label) in enumerate(gt):
        candidates = []
        for a, (x, y) in enumerate(points):
            if min(x - box[0], y - box[1], box[2] - x, box[3] - y) <= 1e-9:
                continue
            overlap[a, g] = max(0.0, plain_complete_iou(boxes[a], box))
            score = 1 / (1 + math.exp(-logits[a][label]))
            metric[a, g] = score**alpha * overlap[a, g] ** beta
            if metric[a, g] > 0:
                candidates.append(a)
        candidates.sort(key=lambda a: -metric[a, g])  # stable: first of equals
        for a in candidates[:topk]:
            claims.setdefault(a, []).append(g)
    owner = {a: max(owners, key=lambda g: overlap[a, g]) for a, owners in claims.items()}
    targets: dict[int, tuple[int, float]] = {}
    for a, g in owner.items():
        own = [other for other, its in owner.items() if its == g]
        best_metric = max(metric[other, g] for other in own)
        best_overlap = max(overlap[other, g] for other in own)
        targets[a] = (g, metric[a, g] / best_metric * best_overlap)
    return targets
