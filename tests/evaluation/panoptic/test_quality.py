"""Panoptic quality and boundary PQ equal plain loops, by hand and on COCO's ground truth."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from mmattn.detections.segment_map import (
    SegmentMap,
    count_pairs,
    find_ids,
    id_colours,
    segment_ids,
)
from mmattn.evaluation.panoptic.matching import (
    boundary_ious,
    mask_ious,
    match_segments,
    segment_bands,
)
from mmattn.evaluation.panoptic.quality import (
    SUMS,
    QualitySums,
    class_qualities,
    mean_quality,
)
from tests.support.panoptic_cases import NUM_CLASSES, as_map, as_plain, perturbed, random_truth
from tests.support.panoptic_reference import (
    PlainSegment,
    plain_boundary,
    plain_image,
    plain_quality,
)
from tests.support.shared_data import SHARED_DATA

COCO100 = SHARED_DATA / "coco100/annotations"


def sums_of(truth: SegmentMap, predicted: SegmentMap, *, boundary: bool = False) -> QualitySums:
    pairs = count_pairs(truth, predicted)
    ious = mask_ious(pairs)
    if boundary:
        ious = np.minimum(ious, boundary_ious(truth, predicted))
    return QualitySums.of(truth, predicted, match_segments(truth, predicted, pairs, ious))


def as_dict(sums: QualitySums) -> dict[int, dict[str, float]]:
    columns = sums.values.T.tolist()
    return {
        label: dict(zip(SUMS, column, strict=True))
        for label, column in zip(sums.labels.tolist(), columns, strict=True)
    }


@pytest.mark.parametrize("boundary", [False, True])
def test_random_images_equal_the_loops(boundary: bool) -> None:
    rng = np.random.default_rng(3)
    ours, theirs = [], []
    for _ in range(60 if boundary else 200):
        truth = random_truth(rng)
        predicted = perturbed(truth, rng) if rng.random() < 0.8 else random_truth(rng)
        predicted = (predicted[0], predicted[1], set())
        sums = sums_of(as_map(truth), as_map(predicted), boundary=boundary)
        plain = plain_image(as_plain(truth), as_plain(predicted), boundary=boundary)
        assert as_dict(sums).keys() == plain.keys()
        for label, values in as_dict(sums).items():
            assert values == pytest.approx(plain[label], abs=1e-12)
        ours.append(sums)
        theirs.append(plain)
    total = QualitySums.total(ours, NUM_CLASSES)
    assert (total[1:] > 0).all(), "every class must have matches, false and missed segments"
    expected = plain_quality(theirs)
    qualities = class_qualities(total)
    for label in range(NUM_CLASSES):
        assert qualities[:, label] == pytest.approx(list(expected[label].values()), abs=1e-12)


def test_quality_by_hand() -> None:
    """Two segments of 8 pixels, one hit with IoU 6 / 8, one missed, one invented: PQ 0.75 / 2."""
    truth = np.array([[1, 1, 1, 1, 2, 2, 2, 2]] * 2)
    found = np.array([[5, 5, 5, 0, 6, 0, 7, 7]] * 2)
    sums = sums_of(SegmentMap.of(truth, {1: 0, 2: 0}), SegmentMap.of(found, {5: 0, 6: 0, 7: 1}))
    assert as_dict(sums) == {
        0: {"iou": 0.75, "tp": 1, "fp": 1, "fn": 1},
        1: {"iou": 0, "tp": 0, "fp": 1, "fn": 0},
    }
    qualities = class_qualities(QualitySums.total([sums], 3))
    assert qualities[:, 0].tolist() == [0.375, 0.75, 0.5]
    assert qualities[:, 1].tolist() == [0, 0, 0]
    assert np.isnan(qualities[:, 2]).all(), "a class that does not occur has no quality"
    assert mean_quality(qualities).tolist() == [0.1875, 0.375, 0.25]
    assert np.isnan(mean_quality(qualities, np.array([False, False, True]))).all()


def test_void_and_crowds_excuse() -> None:
    """What lies mostly in void, or in a crowd of its class, is no error; of another class it is."""
    truth = np.array([[0, 0, 0, 0, 3, 3, 3, 3, 4, 4, 4, 4]])
    found = np.array([[8, 8, 8, 8, 9, 9, 9, 9, 7, 7, 7, 7]])
    a = SegmentMap.of(truth, {3: 0, 4: 1}, crowd={3, 4})
    sums = sums_of(a, SegmentMap.of(found, {8: 0, 9: 0, 7: 0}))
    assert as_dict(sums) == {0: {"iou": 0, "tp": 0, "fp": 1, "fn": 0}}
    # Exactly one half excuses nothing.
    half = np.array([[8, 8, 8, 8, 8, 8, 8, 8, 0, 0, 0, 0]])
    b = SegmentMap.of(truth, {3: 0, 4: 1}, crowd={4})
    assert as_dict(sums_of(b, SegmentMap.of(half, {8: 1}))) == {
        0: {"iou": 0, "tp": 0, "fp": 0, "fn": 1},
        1: {"iou": 0, "tp": 0, "fp": 1, "fn": 0},
    }
    # The void part of a prediction leaves the union.
    assert as_dict(sums_of(b, SegmentMap.of(half, {8: 0})))[0]["iou"] == 1.0


def test_two_crowd_regions_of_a_class_count_together() -> None:
    """Panopticapi takes the last one alone; COCO has no image with two."""
    truth = SegmentMap.of(np.array([[1, 1, 2, 2, 3]]), {1: 0, 2: 0, 3: 1}, crowd={1, 2})
    found = SegmentMap.of(np.array([[5, 5, 5, 5, 5]]), {5: 0})
    assert as_dict(sums_of(truth, found)) == {1: {"iou": 0, "tp": 0, "fp": 0, "fn": 1}}


def test_bands_are_those_of_each_mask() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        case = random_truth(rng, (30, 60))
        segments = as_map(case)
        bands = segment_bands(segments, 1)
        assert not bands[segments.index == 0].any(), "void has no boundary of its own"
        for segment in as_plain(case):
            assert np.array_equal(bands & segment.mask, plain_boundary(segment.mask))


def test_many_segments_are_numbered_beyond_a_byte() -> None:
    ids = np.arange(1, 401).reshape(20, 20)
    segments = SegmentMap.of(ids, {int(i): 0 for i in ids.reshape(-1)})
    sums = sums_of(segments, segments, boundary=True)
    assert as_dict(sums) == {0: {"iou": 400, "tp": 400, "fp": 0, "fn": 0}}


def test_no_segments_at_all() -> None:
    nothing = SegmentMap.of(np.zeros((4, 5), int), {})
    sums = sums_of(nothing, nothing, boundary=True)
    assert as_dict(sums) == {} and np.isnan(sums.quality())


def test_ids_are_found_as_numpy_finds_them() -> None:
    rng = np.random.default_rng(1)
    for shape in ((1, 1), (7, 9), (40, 3)):
        for highest in (1, 5, 256**3):
            ids = np.repeat(rng.integers(0, highest, shape), 3, axis=1)
            expected = np.unique(ids, return_inverse=True, return_counts=True)
            present, places, counts = find_ids(ids)
            assert np.array_equal(present, expected[0]) and np.array_equal(counts, expected[2])
            assert np.array_equal(present[places], ids)


def test_ids_and_colours_are_inverse() -> None:
    ids = np.array([[0, 1, 255], [256, 65536, 256**3 - 1]])
    assert np.array_equal(segment_ids(id_colours(ids)), ids)
    assert id_colours([1 + 2 * 256 + 3 * 65536]).tolist() == [[1, 2, 3]]


def test_boxes_and_areas_by_hand() -> None:
    segments = SegmentMap.of(np.array([[0, 7, 7], [9, 9, 7]]), {7: 2, 9: 1})
    assert segments.areas().tolist() == [3, 2]
    assert segments.boxes().tolist() == [[1, 0, 2, 2], [0, 1, 2, 1]]
    assert segments.class_map(255).tolist() == [[255, 2, 2], [1, 1, 2]]


def coco100(limit: int) -> list[tuple[SegmentMap, list[PlainSegment]]]:
    file = COCO100 / "panoptic_train2017.json"
    if not file.is_file():
        pytest.skip(f"{file} is not there: set MMATTN_SHARED_DATA to the folder with coco100")
    content = json.loads(file.read_text())
    label_of = {c["id"]: label for label, c in enumerate(content["categories"])}
    cases = []
    for entry in content["annotations"][:limit]:
        ids = segment_ids(cv2.imread(str(file.with_suffix("") / entry["file_name"]))[..., ::-1])
        labels = {s["id"]: label_of[s["category_id"]] for s in entry["segments_info"]}
        crowd = {s["id"] for s in entry["segments_info"] if s["iscrowd"]}
        cases.append((SegmentMap.of(ids, labels, crowd), [ids, labels, crowd]))
    return cases


def test_coco_against_itself_is_perfect() -> None:
    for truth, _ in coco100(30):
        found = SegmentMap(truth.index, truth.labels, np.zeros(len(truth.crowd), bool), truth.ids)
        for boundary in (False, True):
            sums = sums_of(truth, found, boundary=boundary)
            iou, tp, fp, fn = sums.values
            assert np.array_equal(iou, tp) and not fp.any() and not fn.any()
            assert tp.sum() == (~truth.crowd).sum()


@pytest.mark.slow
def test_coco_shifted_equals_the_loops() -> None:
    """Shifted by four pixels, all 100 images, with their void and six crowd regions."""
    crowds = 0
    for truth, case in coco100(100):
        ids, labels, crowd = case
        shifted = np.roll(ids, 4, axis=1)
        found = SegmentMap.of(shifted, labels)
        plain = plain_image(as_plain((ids, labels, crowd)), as_plain((shifted, labels, set())))
        ours = as_dict(sums_of(truth, found))
        assert ours.keys() == plain.keys()
        for label, values in ours.items():
            assert values == pytest.approx(plain[label], abs=1e-9)
        crowds += len(crowd)
    assert crowds == 6
