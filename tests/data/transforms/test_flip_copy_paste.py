"""Instances are pasted with their masks, mirrored, where they hide little."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mmdet.structures.bbox import HorizontalBoxes
from pycocotools import mask as coco_mask

from mmattn.data.transforms import FlipCopyPaste, HSVGain, RareImageChanges
from mmattn.data.transforms.affine import scale_and_shift
from mmattn.data.transforms.flip_copy_paste import covered_shares
from mmattn.data.transforms.hsv_gain import apply_gains
from mmattn.data.transforms.instance_masks import StoredInstance, is_usable, stored_masks
from mmattn.errors import ConfigError, DataError

TRIANGLE = [[2.0, 2.0, 19.0, 2.0, 2.0, 19.0]]


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
    drawn = StoredInstance(FORMS[form], (20, 40), matrix).bitmap((60, 100))
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
        "stored_masks": [StoredInstance(FORMS[form], (20, 40), np.eye(3))],
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
        "stored_masks": [StoredInstance(TRIANGLE, (20, 40), np.eye(3)), None],
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
    masks = stored_masks(results, np.zeros((3, 4)), np.eye(3))
    assert masks is not None
    assert [mask is not None for mask in masks] == [True, False, False]
    results["instances"] = results["instances"][:2]  # some were filtered: nobody knows which
    assert stored_masks(results, np.zeros((3, 4)), np.eye(3)) is None


def test_masks_of_boxes_that_were_moved_behind_their_loading_are_not_known() -> None:
    results = {
        "img": np.zeros((20, 40, 3), np.uint8),
        "instances": [{"mask": TRIANGLE, "bbox": [2, 2, 19, 19]}],
    }
    assert stored_masks(results, np.array([[2.0, 2, 19, 19]]), np.eye(3)) is not None
    assert stored_masks(results, np.array([[1.0, 1, 9, 9]]), np.eye(3)) is None
    assert stored_masks(results, np.array([[21.0, 2, 38, 19]]), np.eye(3)) is None


def test_a_polygon_covers_the_pixels_whose_middle_it_holds() -> None:
    """Corners count from the corner of pixel (0, 0): pixels 3 and 4 lie between 3 and 5."""
    square = [3.0, 3.0, 5.0, 3.0, 5.0, 5.0, 3.0, 5.0]
    drawn = StoredInstance([square], (8, 8), np.eye(3)).bitmap((8, 8))
    assert np.argwhere(drawn).tolist() == [[3, 3], [3, 4], [4, 3], [4, 4]]
    rows, columns = np.mgrid[:64, :64] + 0.5
    circle = np.linspace(0, 2 * np.pi, 300)
    for x, y, radius in [(32.2, 30.7, 20.0), (5.0, 60.0, 12.5), (40.5, 20.5, 3.0)]:
        polygon = np.stack([x + radius * np.cos(circle), y + radius * np.sin(circle)], 1)
        drawn = StoredInstance([polygon.ravel().tolist()], (64, 64), np.eye(3)).bitmap((64, 64))
        expected = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
        offset = np.argwhere(drawn).mean(0) - np.argwhere(expected).mean(0)
        assert np.abs(offset).max() < 0.2
        assert drawn.sum() == pytest.approx(expected.sum(), rel=0.05, abs=4)


def pasting(**changes: Any) -> dict[str, Any]:
    return {
        "img": np.zeros((20, 40, 3), np.uint8),
        "gt_bboxes": HorizontalBoxes(np.array([[2, 2, 19, 19]], np.float32)),
        "gt_bboxes_labels": np.array([4]),
        "gt_ignore_flags": np.array([False]),
        "stored_masks": [StoredInstance(TRIANGLE, (20, 40), np.eye(3))],
        **changes,
    }


def test_crowds_are_not_pasted() -> None:
    """A head that learns nothing of crowds would take the pasted pixels for background."""
    assert len(FlipCopyPaste(prob=1.0)(pasting())["gt_bboxes"]) == 2
    crowd = pasting(gt_ignore_flags=np.array([True]))
    assert len(FlipCopyPaste(prob=1.0)(crowd)["gt_bboxes"]) == 1


@pytest.mark.parametrize("changes", [{"stored_masks": None}, {"flip": True}])
def test_masks_that_did_not_follow_their_image_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="behind FlipCopyPaste"):
        FlipCopyPaste(prob=1.0)(pasting(**changes))


def test_copy_paste_without_the_step_that_keeps_the_masks_is_refused() -> None:
    results = pasting()
    del results["stored_masks"]
    with pytest.raises(ConfigError, match="right behind MosaicAffine"):
        FlipCopyPaste(prob=1.0)(results)


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
