"""Confusion matrix, curves over the confidence, sizes, intervals and worst images."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from faster_coco_eval import COCO

from mmattn.evaluation.detection.confidence import confidence_curves
from mmattn.evaluation.detection.confusion import confusion_matrix
from mmattn.evaluation.detection.intervals import ap_intervals, ap_of_draws
from mmattn.evaluation.detection.matching import IGNORED, best_detections
from mmattn.evaluation.detection.sizes import SIZE_EDGES, count_sizes
from mmattn.evaluation.detection.worst_images import worst_images
from tests.support.coco_cases import (
    CATEGORIES,
    THRESHOLDS,
    matched,
    plain_evaluation,
    random_case,
    simple_case,
)
from tests.support.detection_reference import confusion, match, split_case

CAT, DOG = 7, 3
CAT_ROW, DOG_ROW, BACKGROUND = 1, 0, 4
BOX, FAR = (10, 10, 40, 40), (100, 100, 40, 40)


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_confusion_is_that_of_the_plain_reference(iou_type: str) -> None:
    for seed in range(60):
        dataset, detections = random_case(seed, ties=False)
        matches = matched(dataset, detections, iou_type)
        for confidence in (0.0, 0.4):
            ours = confusion_matrix(matches, confidence)
            theirs = confusion(*split_case(dataset, detections, iou_type), 4, confidence)
            np.testing.assert_array_equal(ours, theirs, err_msg=str(seed))
            shown = (matches.det_score >= confidence) & (matches.at(0.5) != IGNORED)
            assert ours[:-1].sum() == len(matches.obj_label), "every object once"
            assert ours[:, :-1].sum() == shown.sum(), "every detection once"


def test_confusion_by_hand() -> None:
    objects = [(1, CAT, BOX), (1, DOG, FAR)]
    found = [(1, DOG, BOX, 0.9), (1, DOG, BOX, 0.8), (1, DOG, FAR, 0.2)]
    matrix = confusion_matrix(matched(*simple_case(objects, found)), 0.5)
    assert matrix[CAT_ROW, DOG_ROW] == 1, "a cat called a dog"
    assert matrix[BACKGROUND, DOG_ROW] == 1, "the second one has nothing left"
    assert matrix[DOG_ROW, BACKGROUND] == 1, "its detection is below the confidence"
    assert matrix.sum() == 3


def test_curves_are_counts_at_each_confidence() -> None:
    for seed in range(20):
        dataset, detections = random_case(seed)
        objects, crowds, found = split_case(dataset, detections)
        curves = confidence_curves(matched(dataset, detections))
        for place in (0, 300, 555, 1000):
            confidence = curves.confidences[place]
            shown = [d for d in found if d.score >= confidence]
            hits = match(objects, crowds, shown)
            for label in range(4):
                there = sum(t.label == label for t in objects)
                if not there:
                    assert np.isnan(curves.f1[label, place])
                    continue
                own = [d for d in shown if d.label == label and d.place in hits]
                true = sum(hits[d.place] is not None for d in own)
                assert curves.recall[label, place] == pytest.approx(true / there)
                assert curves.f1[label, place] == pytest.approx(2 * true / (len(own) + there))
                if own:
                    assert curves.precision[label, place] == pytest.approx(true / len(own))
                else:
                    assert np.isnan(curves.precision[label, place])


def test_the_best_confidence_keeps_hits_and_drops_false_detections() -> None:
    case = simple_case([(1, CAT, BOX)], [(1, CAT, BOX, 0.7), (1, CAT, FAR, 0.4)])
    curves = confidence_curves(matched(*case))
    assert curves.confidences[curves.best] == pytest.approx(0.401)
    assert curves.mean_f1[curves.best] == 1.0


def test_without_objects_there_is_no_best_confidence_and_no_error() -> None:
    curves = confidence_curves(matched(*simple_case([], [(1, CAT, BOX, 0.5)])))
    assert curves.best == 0 and np.isnan(curves.mean_f1).all()


def test_sizes_at_the_edges_and_what_becomes_of_objects() -> None:
    objects = [(1, CAT, (0, 0, side, side)) for side in (31, 32)]
    objects += [(2, CAT, (0, 0, 96, 96)), (3, DOG, (0, 0, 97, 97))]
    found = [(1, CAT, (0, 0, 31, 31), 0.9), (2, CAT, (0, 0, 96, 96), 0.1)]
    counts = count_sizes(matched(*simple_case(objects, found, images=3)), 0.5)
    small, medium, large = (SIZE_EDGES.index(edge) for edge in (24, 32, 96))
    assert counts[:, small].tolist() == [1, 0, 0]
    assert counts[:, medium].tolist() == [0, 0, 1]
    assert counts[:, large].tolist() == [0, 1, 1]
    assert counts.sum() == 4


def test_a_draw_equals_the_dataset_of_its_images_under_new_ids() -> None:
    for seed in range(30):
        dataset, detections = random_case(seed, ties=False)
        ids = sorted(image["id"] for image in dataset["images"])
        times = np.random.default_rng(seed).multinomial(len(ids), np.full(len(ids), 1 / len(ids)))
        drawn = {**dataset, "images": [], "annotations": []}
        copies = []
        for image, count in zip(ids, times, strict=True):
            for repeat in range(count):
                new = 100 * image + repeat
                record = next(i for i in dataset["images"] if i["id"] == image)
                drawn["images"].append({**record, "id": new})
                for entry in dataset["annotations"]:
                    if entry["image_id"] == image:
                        number = len(drawn["annotations"]) + 1
                        drawn["annotations"].append({**entry, "id": number, "image_id": new})
                copies += [{**d, "image_id": new} for d in detections if d["image_id"] == image]
        theirs = plain_evaluation(drawn, copies, "bbox").eval["precision"][..., 0, -1]
        ours = ap_of_draws(matched(dataset, detections), THRESHOLDS, times[None])[:, 0]
        expected = np.where(theirs > -1, theirs, np.nan).mean(axis=1)
        np.testing.assert_allclose(ours[0], expected.mean(axis=0), atol=1e-9, err_msg=str(seed))
        np.testing.assert_allclose(ours[1], expected[0], atol=1e-9)


def test_intervals_hold_the_score_and_do_not_change() -> None:
    dataset, detections = random_case(8)
    matches = matched(dataset, detections)
    first = ap_intervals(matches, THRESHOLDS, resamples=200)
    second = ap_intervals(matches, THRESHOLDS, resamples=200)
    for name, ends in first.items():
        np.testing.assert_array_equal(ends, second[name])
    once = ap_of_draws(matches, THRESHOLDS, np.ones((1, len(matches.image_ids))))
    low, high = first["mAP"]
    assert low <= np.nanmean(once[0]) <= high and low < high


def test_the_interval_of_map_is_at_the_limit_of_map() -> None:
    """mAP counts 100 detections of a class in an image, where AP50 counts the largest limit."""
    dataset, detections = random_case(8)
    matches = matched(dataset, detections)
    ends = ap_intervals(matches, THRESHOLDS, resamples=100, map_limit=1)
    alone = ap_intervals(matched(dataset, detections, max_dets=1), THRESHOLDS, resamples=100)
    every = ap_intervals(matches, THRESHOLDS, resamples=100)
    np.testing.assert_array_equal(ends["mAP"], alone["mAP"])
    assert not np.array_equal(ends["mAP"], every["mAP"])
    np.testing.assert_array_equal(ends["mAP_50"], every["mAP_50"])


def test_the_best_detections_keep_their_pairs() -> None:
    dataset, detections = random_case(8)
    ours = best_detections(matched(dataset, detections), 1)
    plain = matched(dataset, detections, max_dets=1)
    for name in ("match", "det_image", "det_score", "pair_det", "pair_obj", "pair_iou"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(plain, name), err_msg=name)


def worst_of(
    dataset: dict,
    detections: list[dict],
    limit: int,
    confidence: float = 0.5,
    names: tuple[str, ...] = ("b.png", "a.png", "c.png"),
):
    return worst_images(
        matched(dataset, detections),
        confidence,
        limit,
        truth=COCO(copy.deepcopy(dataset)),
        detections=detections,
        iou_type="bbox",
        names=dict(enumerate(names, 1)),
    )


def test_the_worst_images_are_those_with_the_lowest_f1() -> None:
    objects = [(1, CAT, BOX), (2, CAT, BOX), (3, CAT, BOX), (3, CAT, FAR)]
    found = [(3, CAT, BOX, 0.9), (2, CAT, BOX, 0.3), (1, CAT, FAR, 0.9)]
    dataset, detections = simple_case(objects, found, images=4)
    images = worst_of(dataset, detections, 9)
    assert [image.name for image in images] == ["b.png", "a.png", "c.png"], "the 4th holds nothing"
    first, second, third = images
    assert (first.f1, first.hits, first.false, first.missed) == (0.0, 0, 1, 1)
    assert (second.f1, second.missed, len(second.detections)) == (0.0, 1, 0)
    assert third.f1 == pytest.approx(2 / 3)
    assert [(one.right, one.box) for one in third.objects] == [
        (True, tuple(map(float, BOX))), (False, tuple(map(float, FAR))),
    ]  # fmt: skip
    assert [i.name for i in worst_of(dataset, detections, 1)] == ["b.png"]
    assert worst_of(dataset, detections, 0) == ()
    patients = ("/d/images/p1/0.png", "/d/images/p2/0.png", "/d/images/p1/1.png")
    titles = [i.title for i in worst_of(dataset, detections, 9, names=patients)]
    assert titles == ["p1/0.png", "p2/0.png", "p1/1.png"], "two images are called 0.png"


def test_the_case_has_the_classes_in_the_order_of_their_ids() -> None:
    names = [c["name"] for c in sorted(CATEGORIES, key=lambda c: c["id"])]
    assert names[CAT_ROW] == "cat" and names[DOG_ROW] == "dog"
