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
#: A box with sides below a pixel moves by rounding alone; so far its corners may lie apart.
MAX_PIXELS = 0.05
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
    apart = np.abs(first.boxes[:, None] - second.boxes[None]).max(-1, initial=0.0)
    alike = (box_ious(first.boxes, second.boxes) >= MIN_IOU) | (apart <= MAX_PIXELS)
    allowed = same_label & alike & (differences <= MAX_SCORE_DIFFERENCE)
    free = np.ones(len(second), bool)
    partners = np.full(len(first), -1)
    for index in range(len(first)):
        candidates = np.flatnonzero(allowed[index] & free)
        if len(candidates):
            nearest = candidates[np.argmin(differences[index, candidates])]
            partners[index], free[nearest] = nearest, False
    paired = np.flatnonzero(partners >= 0)
    limits = (score_threshold, iou_threshold, max_per_image)
    alone = [(first[partners < 0], second, first), (second[free], first, second)]
    excused = [_borderline(lost, others, own, *limits) for lost, others, own in alone]
    lonely = sum(len(lost) for lost, _, _ in alone)
    borderline = int(sum(flags.sum() for flags in excused))
    return Match(
        pairs=len(paired),
        unmatched=lonely - borderline,
        borderline=borderline,
        score_difference=float(differences[paired, partners[paired]].max(initial=0.0)),
    )


def _borderline(
    lost: Detections,
    others: Detections,
    own: Detections,
    score_threshold: float,
    iou_threshold: float | None,
    max_per_image: int,
) -> np.ndarray:
    """Return for each of ``lost`` whether rounding decides that the other program lacks it."""
    near = lost.scores - score_threshold <= MAX_SCORE_DIFFERENCE
    for full in (own, others):
        if max_per_image > 0 and len(full) >= max_per_image:
            near |= lost.scores - full.scores.min() <= MAX_SCORE_DIFFERENCE
    if iou_threshold is not None and len(others):
        overlaps = box_ious(lost.boxes, others.boxes)
        at_limit = np.abs(overlaps - iou_threshold) <= NMS_MARGIN
        near |= (at_limit & (lost.labels[:, None] == others.labels[None])).any(1)
    return near
