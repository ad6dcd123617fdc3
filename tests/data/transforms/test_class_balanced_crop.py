"""Crops aim at every class alike, whatever its size; otherwise they are mmseg's."""

from __future__ import annotations

import numpy as np
import pytest
from mmseg.datasets.transforms import RandomCrop

from mmattn.data.generators import seeded_generators
from mmattn.data.transforms import ClassBalancedCrop
from mmattn.errors import ConfigError


def image(height: int = 60, width: int = 80) -> dict:
    """Class 0 nearly everywhere, class 1 in a corner, class 2 on one pixel, some ignored."""
    label = np.zeros((height, width), np.uint8)
    label[:5, :5] = 1
    label[40, 70] = 2
    label[20:30, 20:30] = 255
    image = np.stack([label] * 3, axis=-1)
    return {"img": image, "gt_seg_map": label, "seg_fields": ["gt_seg_map"], "img_shape": (60, 80)}


def crops(transform, count: int, **size: int) -> list[dict]:
    with seeded_generators(0):
        return [transform(image(**size)) for _ in range(count)]


def test_every_class_is_aimed_at_alike() -> None:
    found = crops(ClassBalancedCrop((16, 16), prob=1.0), 300)
    shares = [np.mean([(one["gt_seg_map"] == c).any() for one in found]) for c in (1, 2)]
    # Four binomial standard deviations around a third; the crops at class 0 rarely see the others.
    for share in shares:
        assert abs(share - 1 / 3) < 0.13
    usual = crops(RandomCrop((16, 16)), 300)
    assert np.mean([(one["gt_seg_map"] == 2).any() for one in usual]) < 0.15


def test_the_pixel_is_in_the_middle_and_image_and_label_stay_together() -> None:
    for one in crops(ClassBalancedCrop((15, 11), prob=1.0, classes=[2]), 5):
        assert one["gt_seg_map"].shape == one["img"].shape[:2] == one["img_shape"] == (15, 11)
        assert one["gt_seg_map"][7, 5] == 2
        assert np.array_equal(one["img"][..., 0], one["gt_seg_map"])


def test_the_border_moves_a_crop_back_into_the_image() -> None:
    for one in crops(ClassBalancedCrop(20, prob=1.0, classes=[1]), 5):
        assert np.array_equal(one["gt_seg_map"], image()["gt_seg_map"][:20, :20])


def test_a_image_smaller_than_the_crop_stays_whole() -> None:
    for one in crops(ClassBalancedCrop((100, 40), prob=1.0, classes=[2]), 3):
        assert one["gt_seg_map"].shape == (60, 40)
        assert (one["gt_seg_map"] == 2).any()


@pytest.mark.parametrize("options", [{"prob": 0.0}, {"prob": 1.0, "classes": [7]}])
def test_without_a_class_to_aim_at_it_is_mmsegs_crop(options: dict) -> None:
    ours = crops(ClassBalancedCrop((16, 16), cat_max_ratio=0.9, **options), 20)
    with seeded_generators(0):
        theirs = []
        for _ in range(20):
            np.random.rand()  # the draw that decides whether to aim
            theirs.append(RandomCrop((16, 16), cat_max_ratio=0.9)(image()))
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one["gt_seg_map"], other["gt_seg_map"])


def test_ignored_pixels_are_no_class() -> None:
    label = np.full((30, 30), 255, np.uint8)
    label[3, 4] = 5
    results = {"img": label, "gt_seg_map": label, "seg_fields": ["gt_seg_map"]}
    with seeded_generators(1):
        for _ in range(5):
            assert (ClassBalancedCrop(8, prob=1.0)(dict(results))["gt_seg_map"] == 5).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"prob": 1.5}, "prob=1.5"), ({"classes": []}, "classes="), ({"classes": ["car"]}, "car")],
)
def test_options_that_cannot_be_meant(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ClassBalancedCrop(16, **options)
