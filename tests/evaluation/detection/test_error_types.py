"""Errors are split as TIDE defines them, and cost what mending them would gain."""

from __future__ import annotations

import numpy as np
import pytest

from mmattn.evaluation.detection.error_types import ERROR_TYPES, NO_ERROR, split_errors
from tests.support.coco_cases import matched, plain_evaluation, random_case, simple_case
from tests.support.detection_reference import split_case, tide

CAT, DOG = 7, 3
BOX = (10, 10, 40, 40)
HALF = (34, 10, 40, 40)  # IoU 0.25 with BOX
FAR = (100, 100, 40, 40)


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_types_and_gains_are_those_of_the_plain_reference(iou_type: str) -> None:
    seen: set[str] = set()
    for seed in range(60):
        dataset, detections = random_case(seed)
        base, types, missed, gains = tide(*split_case(dataset, detections, iou_type))
        matches = matched(dataset, detections, iou_type)
        ours = split_errors(matches)
        for det, kind in enumerate(ours.types):
            name = None if kind == NO_ERROR else ERROR_TYPES[kind]
            assert types.get(matches.det_source[det]) == name, seed
        assert {matches.obj_id[o] - 1 for o in np.flatnonzero(ours.missed)} == missed
        np.testing.assert_allclose(ours.ap50, base, atol=1e-12, equal_nan=True)
        for name in ERROR_TYPES:
            np.testing.assert_allclose(
                ours.gains[name], gains[name], atol=1e-12, equal_nan=True, err_msg=f"{seed} {name}"
            )
        seen |= set(types.values())
    assert seen == set(ERROR_TYPES[:-1]), "the cases hold each type"


def test_base_is_cocos_ap50() -> None:
    for seed in range(20):
        dataset, detections = random_case(seed)
        precision = plain_evaluation(dataset, detections, "bbox").eval["precision"][0, ..., 0, -1]
        expected = precision[precision > -1]
        if expected.size:
            ours = split_errors(matched(dataset, detections)).ap50
            assert ours == pytest.approx(expected.mean(), abs=1e-9)


@pytest.mark.parametrize(
    ("detection", "name"),
    [
        ((1, DOG, BOX, 0.9), "classification"),
        ((1, CAT, HALF, 0.9), "localisation"),
        ((1, DOG, HALF, 0.9), "both"),
        ((1, CAT, FAR, 0.9), "background"),
    ],
)
def test_one_error_of_each_type(detection: tuple, name: str) -> None:
    errors = split_errors(matched(*simple_case([(1, CAT, BOX)], [detection])))
    counts = {other: int(other == name) for other in ERROR_TYPES}
    # Errors of class and place point at their object, so that it is not missed as well.
    counts["missed"] = int(name in ("both", "background"))
    assert errors.counts == counts
    mends = name in ("classification", "localisation")
    assert errors.gains[name] == pytest.approx(1.0 if mends else 0.0)


def test_a_second_hit_is_a_duplicate_that_costs_precision_below_it() -> None:
    objects = [(1, CAT, BOX), (1, CAT, FAR)]
    found = [(1, CAT, BOX, 0.9), (1, CAT, BOX, 0.8), (1, CAT, FAR, 0.7)]
    errors = split_errors(matched(*simple_case(objects, found)))
    assert errors.counts["duplicate"] == 1
    # 51 recalls up to one half at precision 1, 50 beyond at 2/3: mended, all are 1.
    assert errors.gains["duplicate"] == pytest.approx(50 / 101 / 3)


def test_a_missed_object_is_mended_by_not_counting_it() -> None:
    case = simple_case([(1, CAT, BOX), (1, CAT, FAR)], [(1, CAT, BOX, 0.9)])
    errors = split_errors(matched(*case))
    assert errors.counts["missed"] == 1
    assert errors.gains["missed"] == errors.false_negatives == pytest.approx(50 / 101)
    assert errors.false_positives == pytest.approx(0.0)


def test_of_two_errors_at_one_object_the_higher_score_is_mended() -> None:
    found = [(1, DOG, BOX, 0.9), (1, DOG, BOX, 0.8)]
    errors = split_errors(matched(*simple_case([(1, CAT, BOX)], found)))
    assert errors.counts["classification"] == 2
    assert errors.gains["classification"] == pytest.approx(1.0), "the other is dropped"


def test_perfect_detections_cost_nothing() -> None:
    case = simple_case([(1, CAT, BOX), (1, DOG, FAR)], [(1, CAT, BOX, 0.9), (1, DOG, FAR, 0.3)])
    errors = split_errors(matched(*case))
    assert errors.ap50 == pytest.approx(1.0)
    assert set(errors.counts.values()) == {0} and not any(errors.gains.values())
