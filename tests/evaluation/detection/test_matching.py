"""Matching by COCO's rules, and what the arrays of a dataset hold."""

from __future__ import annotations

import numpy as np
import pytest

from mmattn.evaluation.detection.matching import IGNORED, UNMATCHED
from tests.support.coco_cases import matched, random_case, simple_case
from tests.support.detection_reference import match, split_case

CAT, DOG = 7, 3
BOX = (10, 10, 40, 40)


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_hits_are_those_of_the_plain_reference(iou_type: str) -> None:
    for seed in range(60):
        dataset, detections = random_case(seed)
        objects, crowds, found = split_case(dataset, detections, iou_type)
        matches = matched(dataset, detections, iou_type)
        for threshold in (0.5, 0.75):
            expected = match(objects, crowds, found, threshold)
            for det, hit in enumerate(matches.at(threshold)):
                place = matches.det_source[det]
                if hit == IGNORED:
                    assert place not in expected
                else:
                    theirs = expected[place]
                    ours = None if hit == UNMATCHED else matches.obj_id[hit] - 1
                    assert ours == theirs, (seed, threshold)


def test_the_higher_score_takes_the_object_whatever_its_overlap() -> None:
    case = simple_case([(1, CAT, BOX)], [(1, CAT, BOX, 0.6), (1, CAT, (12, 12, 40, 40), 0.9)])
    matches = matched(*case)
    assert matches.det_score.tolist() == [0.9, 0.6]
    assert matches.at(0.5).tolist() == [0, UNMATCHED]
    assert matches.hit_scores().tolist() == [0.9]


def test_a_crowd_hides_detections_of_its_class_alone_and_is_no_object() -> None:
    inside = (20, 20, 10, 10)
    case = simple_case([(1, CAT, BOX, True)], [(1, CAT, inside, 0.9), (1, DOG, inside, 0.8)])
    matches = matched(*case)
    assert matches.at(0.5).tolist() == [IGNORED, UNMATCHED]
    assert matches.positives.tolist() == [0] * 4 and matches.images_with.tolist() == [0] * 4


def test_only_the_best_detections_of_a_class_in_an_image_count() -> None:
    boxes = [(1, CAT, BOX, score) for score in (0.1, 0.9, 0.5)]
    case = simple_case([(1, CAT, BOX), (2, CAT, BOX)], [*boxes, (1, DOG, BOX, 0.2)], images=2)
    matches = matched(*case, max_dets=2)
    assert matches.det_score.tolist() == [0.9, 0.5, 0.2]
    assert matches.images_with.tolist() == [0, 2, 0, 0], "classes are sorted by their ids"


def test_overlaps_across_classes_are_kept_from_a_tenth_on() -> None:
    case = simple_case([(1, CAT, BOX)], [(1, DOG, BOX, 0.5), (1, DOG, (48, 48, 40, 40), 0.4)])
    matches = matched(*case)
    assert matches.pair_iou.tolist() == [1.0]
    assert (matches.pair_det[0], matches.pair_obj[0]) == (0, 0)


def test_a_dataset_of_nothing() -> None:
    matches = matched(*simple_case([], []))
    assert matches.match.shape == (10, 0) and matches.pair_iou.shape == (0,)
    assert matches.positives.sum() == 0


def test_arrays_are_compact() -> None:
    dataset, detections = random_case(5)
    matches = matched(dataset, detections)
    assert matches.match.dtype == np.int32 and matches.det_label.dtype == np.int32
