"""Promise: boxes are compared, suppressed, drawn, cut out and written as the page says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.ops import batched_nms

from mmattn.detections import (
    CocoFile,
    Detections,
    box_ious,
    draw_detections,
    nms,
    write_crops,
)

CLASSES = ["red cell", "white/cell"]


@pytest.fixture
def found() -> Detections:
    return Detections.of([[2, 3, 12, 13], [20, 5, 45, 28]], [0.5, 0.9], [0, 1])


def test_ious_are_those_of_counted_pixels() -> None:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.integers(0, 20, (12, 2, 2)), axis=1)  # two points each
    boxes = np.concatenate([corners[:, 0], corners[:, 1]], 1).astype(np.float32)
    masks = np.zeros((12, 20, 20), bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
        mask[top:bottom, left:right] = True
    shared = (masks[:, None] & masks[None]).sum((2, 3))
    union = (masks[:, None] | masks[None]).sum((2, 3))
    expected = np.where(union > 0, shared / np.maximum(union, 1), 0)
    np.testing.assert_allclose(box_ious(boxes, boxes), expected, atol=1e-6)


def test_nms_is_torchvision_s() -> None:

    rng = np.random.default_rng(0)
    corners = rng.random((200, 2)) * 50
    boxes = np.concatenate([corners, corners + 5 + rng.random((200, 2)) * 20], 1)
    found = Detections.of(boxes, rng.random(200), rng.integers(0, 3, 200))
    columns = (found.boxes, found.scores, found.labels)
    kept = batched_nms(*map(torch.from_numpy, columns), 0.4).numpy()
    mine = nms(found, 0.4)
    assert 20 < len(kept) < 200
    np.testing.assert_array_equal(mine.boxes, found.boxes[np.sort(kept)])


def test_boxes_and_labels_are_drawn_in_the_colour_of_the_class(found: Detections) -> None:
    image = np.full((300, 300, 3), 100, np.uint8)
    drawn = draw_detections(image, found.moved(40, 60), CLASSES, [[255, 0, 0], [0, 0, 120]])
    assert (image == 100).all(), "the image itself stays as it is"
    assert drawn[80, 60].tolist() == [0, 0, 120]  # left side of the second box
    assert drawn[68, 42].tolist() == [255, 0, 0]
    band = drawn[50:64, 60:90].reshape(-1, 3)
    assert (band == 255).all(1).any(), "white letters on dark blue"


def test_a_label_stays_inside_the_image() -> None:
    image = np.zeros((60, 90, 3), np.uint8)
    at_corner = Detections.of([[70, 0, 89, 30]], [0.5], [0])
    drawn = draw_detections(image, at_corner, CLASSES, [[255, 255, 0]])
    columns = np.flatnonzero((drawn[2:10] == (255, 255, 0)).all(-1).any(0))
    assert columns.min() < 60, "the label is moved to the left, so that all of it can be read"


def test_crops_are_the_pixels_of_the_boxes(found: Detections, tmp_path: Path) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[5:28, 20:45] = (200, 50, 50)
    files = write_crops(image, found, CLASSES, tmp_path, "a")
    assert [str(f.relative_to(tmp_path)) for f in files] == [
        "white_cell/a_1.jpg",
        "red cell/a_2.jpg",
    ]
    with Image.open(files[0]) as opened:
        crop = np.asarray(opened)
    assert crop.shape == (23, 25, 3) and abs(crop.mean((0, 1)) - (200, 50, 50)).max() < 6
    outside = Detections.of([[-9, -9, -1, -1], [50, 30, 90, 90]], [0.9, 0.8], [0, 0])
    (file,) = write_crops(image, outside, CLASSES, tmp_path, "b")
    with Image.open(file) as crop:
        assert crop.size == (10, 10)


def test_coco_tools_read_the_file(found: Detections, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    written = CocoFile(CLASSES)
    written.add("a.jpg", (40, 60), Detections.of([], [], []))
    written.add("b.jpg", (30, 50), found)
    written.write(tmp_path / "detections.json")
    coco = COCO(str(tmp_path / "detections.json"))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == CLASSES
    assert coco.getAnnIds(imgIds=[1]) == []
    best, other = coco.loadAnns(coco.getAnnIds(imgIds=[2]))
    assert best["bbox"] == [20, 5, 25, 23] and best["score"] == pytest.approx(0.9)
    assert (best["category_id"], best["category_name"]) == (2, "white/cell")
    assert other["area"] == 100
    results = json.loads((tmp_path / "detections.json").read_text())["annotations"]
    assert len(coco.loadRes(results).anns) == 2
