"""Instances are pasted with their masks, mirrored, where they hide little."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mmdet.structures.bbox import HorizontalBoxes
from pycocotools import mask as coco_mask

from mmattn.data.augment import FlipCopyPaste, HSVGain, RareImageChanges
from mmattn.data.augment.affine import scale_and_shift
from mmattn.data.augment.flip_copy_paste import covered_shares
from mmattn.data.augment.hsv_gain import apply_gains
from mmattn.data.augment.instance_masks import StoredMask, is_usable, stored_masks
from mmattn.errors import ConfigError, DataError

TRIANGLE = [[2.0, 2.0, 18.0, 2.0, 2.0, 18.0]]


def bitmap() -> np.ndarray:
    rows, columns = np.mgrid[:20, :40]
    return ((rows >= 2) & (columns >= 2) & (rows + columns <= 20)).astype(np.uint8)


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    values = mask.reshape(-1, order="F")
    counts, current, run = [], 0, 0
    for value in values:
        if value != current:
            counts.append(run)
            current, run = value, 0
        run += 1
    return {"size": list(mask.shape), "counts": [*counts, run]}


FORMS = {
    "polygons": TRIANGLE,
    "runs": uncompressed(bitmap()),
    "compressed": coco_mask.encode(np.asfortranarray(bitmap())),
    "bitmap": bitmap(),
}


@pytest.mark.parametrize("form", FORMS)
def test_masks_of_every_form_are_drawn_where_the_image_went(form: str) -> None:
    matrix = scale_and_shift(2.0, 5.0, 3.0)
    drawn = StoredMask(FORMS[form], (20, 40), matrix).bitmap((60, 100))
    expected = np.zeros((60, 100), bool)
    expected[3:43, 5:85] = bitmap().repeat(2, 0).repeat(2, 1)
    shared, both = (drawn & expected).sum(), (drawn | expected).sum()
    assert shared / both > 0.9


@pytest.mark.parametrize("form", FORMS)
def test_a_triangle_is_pasted_mirrored_and_its_surroundings_are_not(form: str) -> None:
    image = np.zeros((20, 40, 3), np.uint8)
    image[bitmap() > 0] = 200
    image[15:19, 14:18] = 90  # inside the box, outside the triangle
    results = {
        "img": image,
        "gt_bboxes": HorizontalBoxes(np.array([[2, 2, 19, 19]], np.float32)),
        "gt_bboxes_labels": np.array([4]),
        "gt_ignore_flags": np.array([False]),
        "stored_masks": [StoredMask(FORMS[form], (20, 40), np.eye(3))],
    }
    result = FlipCopyPaste(prob=1.0)(dict(results))
    assert result["gt_bboxes"].tensor.tolist() == [[2, 2, 19, 19], [21, 2, 38, 19]]
    assert result["gt_bboxes_labels"].tolist() == [4, 4]
    assert result["img"][4, 35].tolist() == [200] * 3
    assert result["img"][17, 23].tolist() == [0] * 3
    assert "stored_masks" not in result
    np.testing.assert_array_equal(result["img"][:, :20], image[:, :20])


def test_nothing_is_pasted_over_another_object() -> None:
    results = {
        "img": np.zeros((20, 40, 3), np.uint8),
        "gt_bboxes": HorizontalBoxes(np.array([[2, 2, 19, 19], [22, 3, 36, 18]], np.float32)),
        "gt_bboxes_labels": np.array([4, 5]),
        "gt_ignore_flags": np.zeros(2, bool),
        "stored_masks": [StoredMask(TRIANGLE, (20, 40), np.eye(3)), None],
    }
    assert len(FlipCopyPaste(prob=1.0)(results)["gt_bboxes"]) == 2


def test_shares_of_hidden_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 20, 30, 40]], float)
    covering = np.array([[5, 0, 15, 10], [0, 0, 100, 100]], float)
    assert covered_shares(boxes, covering).tolist() == [[0.5, 1.0], [0.0, 1.0]]


def test_masks_follow_the_order_of_the_boxes_and_unusable_ones_are_none() -> None:
    results = {
        "img": np.zeros((20, 40, 3), np.uint8),
        "gt_bboxes": HorizontalBoxes(np.zeros((3, 4), np.float32)),
        "instances": [{"mask": TRIANGLE}, {"mask": [[1, 2, 3]]}, {}],
    }
    masks = stored_masks(results, np.eye(3))
    assert [mask is not None for mask in masks] == [True, False, False]
    results["instances"] = results["instances"][:2]  # some were filtered: nobody knows which
    assert stored_masks(results, np.eye(3)) == [None] * 3


@pytest.mark.parametrize("mask", [None, [], [[1, 2, 3, 4]], {"counts": ""}, {"size": [2, 2]}, 3])
def test_masks_without_area_are_not_used(mask: Any) -> None:
    assert not is_usable(mask)


def test_gains_multiply_saturation_and_value() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    assert apply_gains(grey, np.array([1.0, 1.0, 1.5]))[0, 0].tolist() == [150] * 3
    assert apply_gains(grey, np.array([1.0, 1.0, 9.0]))[0, 0].tolist() == [255] * 3
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 2] = 200
    assert apply_gains(red, np.array([1.0, 0.0, 1.0]))[0, 0].tolist() == [200] * 3
    np.testing.assert_array_equal(apply_gains(red, np.ones(3)), red)


def test_no_gain_changes_nothing_and_some_gain_does() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    same = HSVGain(0, 0, 0)({"img": image})["img"]
    assert np.abs(same.astype(int) - image).max() <= 6  # hue has 180 steps
    assert np.abs(HSVGain()({"img": image})["img"].astype(int) - image).max() > 6


def test_rare_changes_are_rare_and_real() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.random.seed(0)
    step = RareImageChanges(0.01)
    changed = sum(step({"img": image})["img"] is not image for _ in range(1000))
    assert 15 < changed < 70  # 4 of 100 expected
    grey = RareImageChanges(1.0)({"img": image})["img"]
    assert grey.std() < image.std()


@pytest.mark.parametrize("step", [HSVGain(), RareImageChanges(1.0)])
def test_images_of_another_type_are_named(step: Any) -> None:
    with pytest.raises(DataError, match=r"a\.tif"):
        step({"img": np.zeros((4, 4, 3), np.float32), "img_path": "a.tif"})


@pytest.mark.parametrize(
    "build", [lambda: FlipCopyPaste(1.2), lambda: HSVGain(value=2), lambda: RareImageChanges(-1)]
)
def test_probabilities_out_of_range_are_refused(build: Any) -> None:
    with pytest.raises(ConfigError):
        build()
