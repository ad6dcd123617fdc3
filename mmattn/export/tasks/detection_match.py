"""Match the detections of two programs that should have found the same.

Rounding reorders detections of nearly equal scores, and it decides where a score lies at a
threshold, where the last row of a full list is cut, and where two boxes overlap by just the
threshold of NMS. So detections are paired without regard to their order, and one without a partner
does not count where such a decision was within rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmattn.detections import Detections, box_ious

#: Pairs overlap at least so much, and their scores differ at most so much.
MIN_IOU = 0.99
MAX_SCORE_DIFFERENCE = 1e-3
#: A box with a side below a pixel moves by rounding alone. So far its corners may lie apart: in
#: pixels, and relative to its longer side, since rounding grows with the numbers.
MAX_PIXELS, MAX_SHARE = 0.05, 1e-4
#: Distance from NMS's threshold within which an overlap can fall on either side.
NMS_MARGIN = 5e-3


@dataclass(frozen=True)
class Match:
    """Detections of one image, compared.

    Attributes:
        pairs: Number of pairs.
        unmatched: Number of detections, on either side, without a partner that had to have one.
        borderline: Number of those whose being there hangs on rounding.
        score_difference: Largest difference of the scores of a pair.
    """

    pairs: int
    unmatched: int
    borderline: int
    score_difference: float


def match(
    first: Detections,
    second: Detections,
    *,
    score_threshold: float,
    iou_threshold: float | None,
    max_per_image: int,
) -> Match:
    """Pair the detections of two programs on one image, best scores first.

    Args:
        first, second: What the programs found.
        score_threshold: Threshold of the scores in both.
        iou_threshold: NMS's threshold in both; None where it is not known.
        max_per_image: Rows that either may return.
    """
    same_label = first.labels[:, None] == second.labels[None]
    differences = np.abs(first.scores[:, None].astype(np.float64) - second.scores[None])
    close = same_label & (differences <= MAX_SCORE_DIFFERENCE)
    allowed = close & same_boxes(first.boxes, second.boxes)
    free = np.ones(len(second), bool)
    partners = np.full(len(first), -1)
    for index in range(len(first)):
        candidates = np.flatnonzero(allowed[index] & free)
        if len(candidates):
            nearest = candidates[np.argmin(differences[index, candidates])]
            partners[index], free[nearest] = nearest, False
    paired = np.flatnonzero(partners >= 0)
    limits = (score_threshold, iou_threshold, max_per_image)
    alone = [(first[partners < 0], second), (second[free], first)]
    excused = [_borderline(lost, others, *limits) for lost, others in alone]
    lonely = sum(len(lost) for lost, _ in alone)
    borderline = int(sum(flags.sum() for flags in excused))
    return Match(
        pairs=len(paired),
        unmatched=lonely - borderline,
        borderline=borderline,
        score_difference=float(differences[paired, partners[paired]].max(initial=0.0)),
    )


def same_boxes(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return which boxes are the same but for rounding, (N, 4) and (M, 4) -> (N, M) bool."""
    apart = np.abs(first[:, None] - second[None]).max(-1, initial=0.0)
    longer = (first[:, 2:] - first[:, :2]).max(-1, initial=0.0)
    near = apart <= MAX_PIXELS + MAX_SHARE * longer[:, None]
    return (box_ious(first, second) >= MIN_IOU) | near


def _borderline(
    lost: Detections,
    others: Detections,
    score_threshold: float,
    iou_threshold: float | None,
    max_per_image: int,
) -> np.ndarray:
    """Return for each of ``lost`` whether rounding decides that the other program lacks it."""
    near = lost.scores - score_threshold <= MAX_SCORE_DIFFERENCE
    if 0 < max_per_image <= len(others):  # the lost one could be the next row
        near |= lost.scores - others.scores.min() <= MAX_SCORE_DIFFERENCE
    if iou_threshold is not None and len(others):
        overlaps = box_ious(lost.boxes, others.boxes)
        at_limit = np.abs(overlaps - iou_threshold) <= NMS_MARGIN
        near |= (at_limit & (lost.labels[:, None] == others.labels[None])).any(1)
    return near
