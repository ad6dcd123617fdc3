"""Non-maximum suppression of lane lines, as LaneATT (Tabelini et al., 2021) and CLRNet use it."""

from __future__ import annotations

import torch
from torch import Tensor

from ._precision import working

__all__ = ["line_nms_forward"]

# The first columns of a line; its points follow.
_START, _LENGTH, _POINTS = 2, 4, 5


def line_nms_forward(
    boxes: Tensor, scores: Tensor, thresh: float, top_k: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Keep the best of the lines that run close to each other.

    A line is dropped where a better one is near: the mean distance of their points, over the rows
    that both have, is below ``thresh``. Lines without a common row never touch.

    Args:
        boxes: Lines (N, 5 + S): column 2 is the start as a share of the S - 1 strips, column 4 the
            length in strips; then the x coordinate in each of S rows, in pixels. The other columns
            are not read.
        scores: Scores (N,).
        thresh: Distance in pixels.
        top_k: Largest number of lines that are kept.

    Returns:
        Indices of the kept lines (N,) int64, best first and 0 behind their number; that number, a
        scalar; and for each line (N,) int64 the place of the last kept line that is near it,
        counted from 1 (its own place if it is kept), 0 for lines that came to no decision.
    """
    lines, scores = working(boxes), working(scores)
    count, rows = len(lines), lines.shape[1] - _POINTS
    keep = torch.zeros(count, dtype=torch.long, device=lines.device)
    parent = torch.zeros_like(keep)
    order = scores.argsort(descending=True, stable=True)
    lines = lines[order]
    first, last = _span(lines, rows)
    points = lines[:, _POINTS:]
    dropped = torch.zeros(count, dtype=torch.bool, device=lines.device)
    kept = 0
    for place in range(count):
        if kept >= top_k:
            break
        if dropped[place]:
            continue
        near = _near(points, first, last, place, thresh)
        near[: place + 1] = False
        dropped |= near
        near[place] = True
        keep[kept] = order[place]
        kept += 1
        parent[order[near]] = kept
    return keep, torch.tensor(kept, device=lines.device), parent


def _span(lines: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """First and last row (N,) of each line; mmcv rounds by cutting off after adding a half."""
    first = (lines[:, _START] * (rows - 1) + 0.5).long()
    length = lines[:, _LENGTH] - 1
    last = (first + length + 0.5 - (length < 0).to(length.dtype)).long()
    # mmcv reads beyond the row for a line that starts above the image; here it starts at 0.
    return first.clamp(min=0), last.clamp(max=rows - 1)


def _near(points: Tensor, first: Tensor, last: Tensor, place: int, thresh: float) -> Tensor:
    """Whether each line (N,) is near line ``place``."""
    start, end = first.clamp(min=first[place]), last.clamp(max=last[place])
    row = torch.arange(points.shape[1], device=points.device)
    common = (row >= start[:, None]) & (row <= end[:, None])
    apart = (points - points[place]).abs().where(common, torch.zeros_like(points)).sum(dim=1)
    return (end >= start) & (apart < thresh * (end - start + 1))
