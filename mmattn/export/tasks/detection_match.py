"""Match the detections of two programs that should have found the same.

Rounding reorders detections of nearly equal scores, and it decides where a score lies at a
threshold, where the last row of a full list is cut, where two boxes overlap by just the threshold
of NMS, and which of two overlapping boxes of nearly equal scores suppresses the other. So
detections are paired without regard to their order, and one without a partner does not count where
such a decision was within rounding: the other program's list is then what a greedy NMS returns for
scores that differ by rounding. A network that hardly saw any training has many of these.
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
        borderline: Number of further ones whose being there hangs on rounding.
        score_difference: Largest difference of the scores of a pair.
    """

    pairs: int
    unmatched: int
    borderline: int
    score_difference: float


@dataclass(frozen=True)
class Candidates:
    """Boxes and scores that an NMS selects from, in one image.

    Attributes:
        boxes: (A, 4) boxes.
        scores: (A, C) their scores.
        size: Height and width of the image.
    """

    boxes: np.ndarray
    scores: np.ndarray
    size: tuple[int, int]


def match(
    first: Detections,
    second: Detections,
    *,
    score_threshold: float,
    iou_threshold: float | None,
    max_per_image: int,
    candidates: Candidates | None = None,
) -> Match:
    """Pair the detections of two programs on one image, best scores first.

    Args:
        first, second: What the programs found.
        score_threshold: Threshold of the scores in both.
        iou_threshold: NMS's threshold in both; None where it is not known.
        max_per_image: Rows that either may return.
        candidates: What both select from. A detection that is none of them has to have a partner;
            of the others either of two that overlap, with equal scores, may stay.
    """
    limits = (score_threshold, iou_threshold, max_per_image)
    if candidates is not None:
        first, first_known = as_candidates(first, candidates)
        second, second_known = as_candidates(second, candidates)
    else:
        first_known, second_known = (np.zeros(len(found), bool) for found in (first, second))
    same_label = first.labels[:, None] == second.labels[None]
    differences = np.abs(first.scores[:, None].astype(np.float64) - second.scores[None])
    close = same_label & (differences <= MAX_SCORE_DIFFERENCE)
    allowed = close & same_boxes(first.boxes, second.boxes)
    free = np.ones(len(second), bool)
    partners = np.full(len(first), -1)
    for index in range(len(first)):
        near = np.flatnonzero(allowed[index] & free)
        if len(near):
            nearest = near[np.argmin(differences[index, near])]
            partners[index], free[nearest] = nearest, False
    paired = np.flatnonzero(partners >= 0)
    unmatched = borderline = 0
    for found, known, lost, others in (
        (first, first_known, partners < 0, second),
        (second, second_known, free, first),
    ):
        excused = lost & _borderline(found, others, *limits)
        excused |= lost & known & _either(found, others, iou_threshold)
        borderline += int(excused.sum())
        unmatched += int((lost & ~excused).sum())
    return Match(
        pairs=len(paired),
        unmatched=unmatched,
        borderline=borderline,
        score_difference=float(differences[paired, partners[paired]].max(initial=0.0)),
    )


def as_candidates(found: Detections, candidates: Candidates) -> tuple[Detections, np.ndarray]:
    """Give detections the boxes of the candidates that they were, which are not cut yet.

    Some heads cut boxes at the border of the image after NMS, which overlapped before.

    Returns:
        The detections, and which of them are candidates but for rounding; the others are cut.
    """
    height, width = candidates.size
    cut = np.clip(candidates.boxes, 0, np.array([width, height, width, height], np.float32))
    found = found.clipped(height, width)
    by_class = np.ascontiguousarray(candidates.scores.T)
    boxes, known = found.boxes.copy(), np.zeros(len(found), bool)
    for row in range(len(found)):
        score_difference = np.abs(by_class[found.labels[row]] - found.scores[row])
        near = np.flatnonzero(score_difference <= MAX_SCORE_DIFFERENCE)
        if not len(near):
            continue
        apart = np.abs(cut[near] - found.boxes[row]).max(1) + score_difference[near]
        nearest = near[[np.argmin(apart)]]
        if same_boxes(found.boxes[row : row + 1], cut[nearest]).item():
            boxes[row], known[row] = candidates.boxes[nearest[0]], True
    return Detections(boxes, found.scores, found.labels), known


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
        at_limit = np.abs(box_ious(lost.boxes, others.boxes) - iou_threshold) <= NMS_MARGIN
        near |= (at_limit & (lost.labels[:, None] == others.labels[None])).any(1)
    return near


def _either(lost: Detections, others: Detections, iou_threshold: float | None) -> np.ndarray:
    """Return for each of ``lost`` whether NMS may suppress it for one of ``others``.

    One that overlaps a better one of its own list may not excuse itself: it should not be there.
    """
    if iou_threshold is None or not len(others):
        return np.zeros(len(lost), bool)
    no_worse = others.scores[None] >= lost.scores[:, None] - MAX_SCORE_DIFFERENCE
    suppressed = _overlap(lost, others, iou_threshold) & no_worse
    own = np.tril(_overlap(lost, lost, iou_threshold + NMS_MARGIN), -1)
    return suppressed.any(1) & ~own.any(1)


def _overlap(first: Detections, second: Detections, threshold: float) -> np.ndarray:
    """Return which detections overlap within their class by more, (N, M) bool."""
    same_label = first.labels[:, None] == second.labels[None]
    return same_label & (box_ious(first.boxes, second.boxes) > threshold)
