"""Promise: detections are compared without regard to order and rounding, and to nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from mmattn.detections import Detections
from mmattn.export.tasks.detection_match import Candidates, Match, match

LIMITS = {"score_threshold": 0.05, "iou_threshold": 0.5, "max_per_image": 100}


@pytest.fixture
def found() -> Detections:
    boxes = [[0, 0, 100, 100], [200, 0, 260, 80], [0, 200, 50, 250], [300, 300, 400, 330]]
    return Detections.of(boxes, [0.9, 0.5, 0.5, 0.2], [0, 1, 1, 2])


def compare(first: Detections, second: Detections, **limits: float) -> Match:
    return match(first, second, **{**LIMITS, **limits})


def test_order_among_equal_scores_does_not_count(found: Detections) -> None:
    other = found[np.array([0, 2, 1, 3])]
    assert compare(found, other) == Match(4, 0, 0, 0.0)


@pytest.mark.parametrize("change", ["box", "score", "label", "missing", "doubled"])
def test_a_real_difference_counts(change: str, found: Detections) -> None:
    boxes, scores, labels = found.boxes.copy(), found.scores.copy(), found.labels.copy()
    if change == "box":
        boxes[0, 2] += 3
    elif change == "score":
        scores[0] += 0.01
    elif change == "label":
        labels[0] = 1
    other = Detections(boxes, scores, labels)
    if change == "missing":
        other = other[1:]
    elif change == "doubled":
        other = Detections.concatenate([other, other[:1]])
    result = compare(found, other)
    assert result.unmatched == (1 if change in ("missing", "doubled") else 2)
    assert result.borderline == 0


def test_rounding_at_a_limit_is_excused(found: Detections) -> None:
    at_threshold = Detections.of([[500, 0, 520, 20]], [0.0504], [0])
    with_more = Detections.concatenate([found, at_threshold])
    assert compare(with_more, found) == Match(4, 0, 1, 0.0)
    # The last row of a full list: another of the same score could stand there.
    assert compare(found, found[:3], max_per_image=4).unmatched == 1
    last = Detections.of([[500, 0, 520, 20]], [found.scores[3]], [0])
    swapped = Detections.concatenate([found[:3], last])
    assert compare(found, swapped, max_per_image=4).unmatched == 0
    # An overlap of just NMS's threshold: 100 x 100 and its lower half and a bit.
    half = Detections.of([[0, 50, 100, 100]], [0.6], [0])
    assert compare(Detections.concatenate([found, half]), found).unmatched == 0
    third = Detections.of([[0, 67, 100, 100]], [0.6], [0])
    assert compare(Detections.concatenate([found, third]), found).unmatched == 1


def candidates_of(*lists: Detections) -> Candidates:
    """Return all detections of some lists as candidates of three classes."""
    found = Detections.concatenate(list(lists))
    scores = np.zeros((len(found), 3), np.float32)
    scores[np.arange(len(found)), found.labels] = found.scores
    return Candidates(found.boxes, scores, (700, 700))


def test_either_of_two_overlapping_boxes_of_equal_scores_may_stay(found: Detections) -> None:
    pair = Detections.of([[500, 0, 600, 100], [510, 0, 610, 100]], [0.7, 0.6999], [0, 0])
    candidates = candidates_of(found, pair)
    one, other = (Detections.concatenate([found, pair[np.array([row])]]) for row in (0, 1))
    assert match(one, other, **LIMITS, candidates=candidates) == Match(4, 0, 2, 0.0)
    # Not where it is not known that both are candidates.
    assert compare(one, other).unmatched == 2
    assert match(one, other, **LIMITS, candidates=candidates_of(one)).unmatched == 1


def test_nms_has_to_keep_the_better_one(found: Detections) -> None:
    pair = Detections.of([[500, 0, 600, 100], [510, 0, 610, 100]], [0.7, 0.6], [0, 0])
    one, other = (Detections.concatenate([found, pair[np.array([row])]]) for row in (0, 1))
    result = match(one, other, **LIMITS, candidates=candidates_of(found, pair))
    assert (result.unmatched, result.borderline) == (1, 1)


def test_a_file_that_does_not_suppress_is_found(found: Detections) -> None:
    doubles = Detections.of([[500, 0, 600, 100], [510, 0, 610, 100]], [0.7, 0.7], [0, 0])
    one = Detections.concatenate([found, doubles[:1]])
    both = Detections.concatenate([found, doubles])
    candidates = candidates_of(found, doubles)
    assert match(both, one, **LIMITS, candidates=candidates).unmatched == 1
    assert match(one, both, **LIMITS, candidates=candidates).unmatched == 1


def test_boxes_that_were_cut_are_compared_as_they_were_before() -> None:
    # They overlap by less than NMS's threshold, and by more once they are cut.
    whole = Detections.of([[-300, 0, 100, 100], [-10, 0, 110, 100]], [0.7, 0.7], [0, 0])
    candidates = candidates_of(whole)
    assert match(whole.clipped(700, 700), whole[:1], **LIMITS, candidates=candidates).unmatched == 1


def test_nothing_against_nothing_is_equal() -> None:
    none = Detections.of([], [], [])
    assert compare(none, none) == Match(0, 0, 0, 0.0)
