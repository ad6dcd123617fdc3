"""Average precision equals pycocotools to 1e-12, unrounded, on thousands of random datasets."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable

import numpy as np
import pytest

from mmattn.evaluation.detection.average_precision import precision_curves
from mmattn.evaluation.detection.coco_evaluator import coco_of, evaluate_coco
from tests.support.coco_cases import (
    CATEGORIES,
    MAX_DETS,
    THRESHOLDS,
    matched,
    plain_evaluation,
    random_case,
    without_boxes,
)

CASES = {"bbox": 150, "segm": 150, "boundary": 25}
#: Further ones of the long run.
MANY = {"bbox": 1000, "segm": 900, "boundary": 100}


@functools.cache
def theirs(seed: int, iou_type: str) -> np.ndarray:
    return plain_evaluation(*random_case(seed), iou_type).eval["precision"]


@pytest.mark.parametrize(
    "iou_type",
    ["bbox", *(pytest.param(name, marks=pytest.mark.slow) for name in CASES if name != "bbox")],
)
def test_precision_of_every_threshold_class_area_and_limit(iou_type: str, figures) -> None:
    compare(iou_type, range(CASES[iou_type]), functools.partial(theirs, iou_type=iou_type))
    figures("detection datasets", CASES[iou_type], CASES[iou_type])


@pytest.mark.slow
@pytest.mark.parametrize("iou_type", list(MANY))
def test_precision_on_many_more(iou_type: str, figures) -> None:
    seeds = range(10_000, 10_000 + MANY[iou_type])
    # Not kept: each is looked at once.
    compare(iou_type, seeds, functools.partial(theirs.__wrapped__, iou_type=iou_type))
    figures("detection datasets", MANY[iou_type], MANY[iou_type])


def compare(iou_type: str, seeds: range, reference: Callable[[int], np.ndarray]) -> None:
    seen = {"crowd": 0, "empty": 0, "tie": 0}
    for seed in seeds:
        dataset, detections = random_case(seed)
        ours = evaluate_coco(
            coco_of(copy.deepcopy(dataset)),
            without_boxes(copy.deepcopy(detections), iou_type),
            iou_type,
            category_ids=[c["id"] for c in CATEGORIES],
            image_ids=[image["id"] for image in dataset["images"]],
            max_dets=MAX_DETS,
            thresholds=THRESHOLDS,
        )
        np.testing.assert_allclose(ours.values, reference(seed), rtol=0, atol=1e-12)
        scores = [d["score"] for d in detections]
        seen["crowd"] += any(a["iscrowd"] for a in dataset["annotations"])
        seen["empty"] += not detections or not dataset["annotations"]
        seen["tie"] += len(set(scores)) < len(scores)
    assert min(seen.values()) > (0 if iou_type == "boundary" else 2), (
        "the cases hold what they are for"
    )


@pytest.mark.parametrize("iou_type", list(CASES))
@pytest.mark.slow
def test_ap_from_our_matches_is_the_evaluators(iou_type: str) -> None:
    """So curves, error types and intervals stand on the number that is reported."""
    for seed in range(CASES[iou_type]):
        dataset, detections = random_case(seed)
        expected = theirs(seed, iou_type)[..., 0, -1]
        matches = matched(dataset, detections, iou_type)
        for level, threshold in enumerate(THRESHOLDS):
            ours = np.nan_to_num(precision_curves(matches, threshold), nan=-1.0)
            np.testing.assert_allclose(ours, expected[level].T, rtol=0, atol=1e-12)
