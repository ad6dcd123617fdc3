"""Metrics from what a run keeps of each image: COCO's own numbers, and those of drawn images."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mmattn.compare.image_counts import (
    DetectionCounts,
    drawn_values,
    load_counts,
    save_counts,
)
from mmattn.compare.statistics import decide, difference, draw_images
from mmattn.evaluation.detection.coco_evaluator import coco_of, evaluate_coco
from mmattn.evaluation.detection.matching import Matches, best_detections
from tests.support.coco_cases import THRESHOLDS, matched, random_case, simple_case, without_boxes

LIMITS = (5, 100, 200)


def coco_numbers(dataset: dict, detections: list[dict]) -> dict[str, float]:
    precision = evaluate_coco(
        coco_of(copy.deepcopy(dataset)),
        without_boxes(detections, "bbox"),
        "bbox",
        category_ids=sorted(category["id"] for category in dataset["categories"]),
        image_ids=[image["id"] for image in dataset["images"]],
        max_dets=LIMITS,
        thresholds=THRESHOLDS,
    )
    return precision.overall()


def counts_of(matches: Matches, limits: tuple[int, ...] = LIMITS) -> DetectionCounts:
    return DetectionCounts("coco/bbox", matches, THRESHOLDS, limits)


def a_metric(matches: dict[str, Matches], prefix: str | None = "coco") -> SimpleNamespace:
    return SimpleNamespace(
        matches=matches, iou_thrs=THRESHOLDS, proposal_nums=LIMITS, prefix=prefix
    )


@pytest.mark.parametrize("seed", range(12))
def test_the_value_is_cocos_with_its_two_limits_of_detections(seed: int) -> None:
    """AP takes 100, AP50 and AP75 the highest limit; crowds and ties are among the cases."""
    dataset, detections = random_case(seed)
    if not dataset["annotations"] or not detections:
        pytest.skip("COCO has no number for a dataset without objects")
    expected = coco_numbers(dataset, detections)
    counts = counts_of(matched(dataset, detections, max_dets=max(LIMITS)))
    for item in ("mAP", "mAP_50", "mAP_75"):
        if expected[item] >= 0:
            assert counts.value(f"coco/bbox_{item}") == pytest.approx(expected[item], abs=1e-12)


def test_an_image_that_is_drawn_twice_is_in_the_dataset_twice() -> None:
    """The plain way: write the drawn dataset down, and evaluate it."""
    dataset, detections = random_case(3, ties=False)
    counts = counts_of(matched(dataset, detections, max_dets=max(LIMITS)))
    times = np.random.default_rng(0).multinomial(len(counts.images), [1 / len(counts.images)] * len(
        counts.images), size=4)  # fmt: skip
    for row, drawn in zip(times, counts.of_draws("coco/bbox_mAP", times), strict=True):
        new: dict = {**dataset, "images": [], "annotations": []}
        found = []
        copies = [image for image, n in zip(counts.images, row, strict=True) for _ in range(n)]
        for place, image in enumerate(copies):
            old = next(entry for entry in dataset["images"] if entry["id"] == image)
            new["images"].append({**old, "id": place + 1})
            for annotation in dataset["annotations"]:
                if annotation["image_id"] == image:
                    number = len(new["annotations"]) + 1
                    new["annotations"].append({**annotation, "id": number, "image_id": place + 1})
            found += [{**d, "image_id": place + 1} for d in detections if d["image_id"] == image]
        if not new["annotations"]:
            assert np.isnan(drawn)
        else:
            # Copies have equal scores, whose order is the evaluator's.
            assert drawn == pytest.approx(coco_numbers(new, found)["mAP"], abs=0.02)


def test_what_follows_from_the_counts() -> None:
    counts = counts_of(matched(*random_case(1)))
    assert [counts.has(f"coco/bbox_{item}") for item in ("mAP", "mAP_50", "mAP_75")] == [True] * 3
    for other in ("coco/bbox_mAP_s", "coco/segm_mAP", "bbox_mAP", "coco/bbox"):
        assert not counts.has(other), other
    few = DetectionCounts("coco/bbox", counts.matches, np.array([0.5]), LIMITS)
    assert few.has("coco/bbox_mAP_50") and not few.has("coco/bbox_mAP_75")


def test_the_best_detections_of_each_class_and_image_are_kept() -> None:
    box = (10, 10, 20, 20)
    found = [(1, 3, box, 0.2), (1, 3, box, 0.9), (1, 7, box, 0.1), (2, 3, box, 0.3)]
    kept = best_detections(matched(*simple_case([(1, 3, box)], found, images=2)), 1)
    assert kept.det_score.tolist() == [0.9, 0.1, 0.3]
    assert kept.match.shape == (len(THRESHOLDS), 3)
    assert kept.at(0.5).tolist() == [0, -1, -1]


@pytest.mark.parametrize("prefix", ["coco", None])
def test_counts_come_back_from_their_file(tmp_path: Path, prefix: str | None) -> None:
    matches = {"bbox": matched(*random_case(5)), "segm": matched(*random_case(5), "segm")}
    written = save_counts([object(), a_metric(matches, prefix)], tmp_path)
    begin = f"{prefix}/" if prefix else ""
    assert set(written["matches"]) == {f"{begin}bbox", f"{begin}segm"} and not written["areas"]
    for shape, wanted in matches.items():
        name = f"{begin}{shape}_mAP_50"
        counts = load_counts(tmp_path, written, name)
        assert counts is not None and counts.images == wanted.image_ids
        original = DetectionCounts(f"{begin}{shape}", wanted, THRESHOLDS, LIMITS)
        assert counts.value(name) == pytest.approx(original.value(name), nan_ok=True)
    assert load_counts(tmp_path, written, f"{begin}bbox_mAP_s") is None
    assert load_counts(tmp_path, {"areas": False}, "coco/bbox_mAP") is None, "of an older run"


def test_draws_are_computed_once_for_the_same_detections(tmp_path: Path, monkeypatch) -> None:
    counts, other = (counts_of(matched(*random_case(seed))) for seed in (1, 6))
    times = draw_images(len(counts.images), resamples=5)
    name = "coco/bbox_mAP_50"
    wanted = counts.of_draws(name, times)
    assert np.array_equal(drawn_values(counts, name, times, tmp_path), wanted, equal_nan=True)
    with monkeypatch.context() as patch:
        patch.setattr(DetectionCounts, "of_draws", lambda *_: pytest.fail("computed again"))
        assert np.array_equal(drawn_values(counts, name, times, tmp_path), wanted, equal_nan=True)
    times = draw_images(len(other.images), resamples=5)
    anew = drawn_values(other, name, times, tmp_path)
    assert np.array_equal(anew, other.of_draws(name, times), equal_nan=True)


def test_a_better_detector_is_higher_and_the_same_one_has_no_difference() -> None:
    """Every object found, against every second one, in thirty images."""
    boxes = [(image, 3, (20 + image, 30, 40, 40)) for image in range(1, 31)]
    runs = {}
    for label, every in (("good", 1), ("half", 2)):
        for seed in range(3):
            # A false one beside, so that seeds are not equal.
            found = [(*box, 0.9) for box in boxes[seed::every]]
            found += [(image, 3, (100, 100, 20, 20), 0.95) for image in range(1, 4 + seed)]
            runs[label, seed] = counts_of(matched(*simple_case(boxes, found, images=30)), (100,))
    times = draw_images(30)
    values, drawn = {}, {}
    for label in ("good", "half"):
        own = [runs[label, seed] for seed in range(3)]
        values[label] = [counts.value("coco/bbox_mAP") for counts in own]
        drawn[label] = np.stack([c.of_draws("coco/bbox_mAP", times) for c in own])
    result = difference(values["good"], values["half"], drawn["good"], drawn["half"])
    assert decide([result])[0].word == "higher" and result.image_interval[0] > 0
    same = difference(values["good"], values["good"], drawn["good"], drawn["good"])
    assert (same.image_interval, same.p) == ((0.0, 0.0), 1.0)
    assert decide([same])[0].word == "within noise"
