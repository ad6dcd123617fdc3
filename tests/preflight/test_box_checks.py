"""Promise: what is odd about boxes is told before training, each with file and item."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mmattn.boxes import Place
from mmattn.cli.main import main
from mmattn.config import load_config
from mmattn.errors import DataError
from mmattn.preflight import preflight
from mmattn.preflight.data import below_stride, shared_images, smallest_stride
from mmattn.preflight.data.box_sizes import SizedObject, scale_of
from mmattn.preflight.data.overlap import difference_hash, near_copies
from tests.support.box_folders import write_coco, write_voc, write_yolo

YOLOX = "mmdet::yolox/yolox_tiny_8xb8-300e_coco.py"
SMALL = {
    "train_dataloader.batch_size": 2,
    "val_dataloader.dataset.pipeline.1.scale": (96, 96),
    "train_dataloader.dataset.pipeline.0.img_scale": (96, 96),
}


def reports(root: Path, full: bool = False, **options) -> list:
    return preflight(load_config(YOLOX, {"data": str(root), **SMALL, **options}), full=full)


# --- counts and findings -------------------------------------------------------------------------


def test_images_and_boxes_of_each_class(tmp_path: Path) -> None:
    train, val = reports(write_voc(tmp_path / "d"))
    assert train.counts == {"cell": 4, "dot": 2, "rod": 4}
    assert train.images_with == {"cell": 4, "dot": 2, "rod": 4}
    assert val.entries == 2 and val.counts["rod"] == 2
    table = train.table()
    assert "train: 4 images in JPEGImages, 10 objects; Pascal VOC" in table
    assert "3 classes, from Annotations" in table
    line = next(line for line in table.splitlines() if line.strip().startswith("dot"))
    assert line.split() == ["dot", "2", "instances", "20.0%", "in", "2", "images"]


def test_copy_paste_without_a_mask_is_said_to_paste_nothing(tmp_path: Path) -> None:
    paste = {"type": "mmattn.FlipCopyPaste", "prob": 0.1}
    pipeline = [{"type": "mmattn.MosaicAffine", "scale": (96, 96)}, paste]
    options = {"train_dataloader.dataset.pipeline": pipeline}
    for masks, expected in (("", 1), ("polygons", 0), ("rle", 0)):
        train, _ = reports(write_coco(tmp_path / f"d{masks}", masks=masks), **options)
        found = [f for f in train.findings if f.check == "copy-paste-without-masks"]
        assert len(found) == expected, masks


def test_boxes_smaller_than_a_cell_of_the_grid(tmp_path: Path) -> None:
    """dot is 10 x 12 pixels; images of 64 x 96 become half as large, the finest grid has 8."""
    root = write_coco(tmp_path / "d")
    half = {"val_dataloader.dataset.pipeline.1.scale": (48, 48)}
    _, val = reports(root, **half)
    (found,) = [f for f in val.findings if f.check == "below-stride"]
    assert str(found) == (
        "1 boxes are smaller than the smallest stride, 8 pixels, behind Resize to 48 x 48: "
        "dot 1 of 1"
    )
    file = root / "annotations/instances_val2017.json"
    assert found.places == (Place(str(file), "annotation 5"),)
    assert not [f for f in reports(root)[1].findings if f.check == "below-stride"]


def test_corners_in_place_of_sizes(tmp_path: Path) -> None:
    """All boxes of a COCO file are corners: most reach beyond their image, and all would fit."""
    root = write_coco(tmp_path / "d")
    file = root / "annotations/instances_train2017.json"
    content = json.loads(file.read_text())
    for item in content["annotations"]:
        x, y, width, height = item["bbox"]
        item["bbox"] = [x, y, x + width, y + height]
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"reach beyond their image.*would fit as \[x1, y1, x2, y2"):
        reports(root)


def test_a_few_corners_are_suspected(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "d", train=12)
    file = root / "annotations/instances_train2017.json"
    content = json.loads(file.read_text())
    for item in content["annotations"]:
        item["bbox"] = [2, 2, 60, 40]  # as [x, y, width, height] all inside
    content["annotations"][3]["bbox"] = [60, 40, 90, 60]
    file.write_text(json.dumps(content))
    train, _ = reports(root)
    assert any("are corners stored?" in warning for warning in train.warnings)


def test_all_boxes_as_shares_are_refused_in_coco(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "d")
    file = root / "annotations/instances_train2017.json"
    content = json.loads(file.read_text())
    for item in content["annotations"]:
        item["bbox"] = [v / 96 for v in item["bbox"]]
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="shares of the image's size"):
        reports(root)


def test_an_image_of_another_size_than_its_annotation(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "d")
    cv2.imwrite(str(root / "JPEGImages/001.png"), np.zeros((50, 50, 3), np.uint8))
    with pytest.raises(DataError, match=r"001\.png is 50 x 50 .*its annotation says 64 x 96"):
        reports(root)


def test_heads_of_another_number_of_classes(tmp_path: Path) -> None:
    from mmattn.errors import ConfigError

    with pytest.raises(ConfigError, match=r"bbox_head\.num_classes=7, but .* has 3 classes"):
        reports(write_yolo(tmp_path / "d"), **{"model.bbox_head.num_classes": 7})


def test_what_filter_cfg_leaves_out_is_counted(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "d")
    (root / "labels/train/001.txt").write_text("")
    train, _ = reports(root, **{"data.filter_cfg.filter_empty_gt": True})
    assert train.entries == 3
    (note,) = [note for note in train.notes if note.startswith("left out by filter_cfg")]
    assert note.endswith("1 images")


# --- scales and strides --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"type": "Resize", "scale": (200, 100), "keep_ratio": True}, (1.0, 1.0)),
        ({"type": "Resize", "scale": (50, 100), "keep_ratio": False}, (0.25, 1.0)),
        ({"type": "Resize", "scale_factor": 0.5}, (0.5, 0.5)),
        ({"type": "mmdet.Mosaic", "img_scale": (100, 100)}, (0.5, 0.5)),
        ({"type": "mmattn.MosaicAffine", "scale": (100, 100)}, (0.5, 0.5)),
        ({"type": "RandomChoiceResize", "scales": [(100, 50), (200, 100), (400, 200)],
          "keep_ratio": True}, (1.0, 1.0)),
        ({"type": "RandomResize", "scale": [(100, 50), (300, 150)], "keep_ratio": True},
         (1.0, 1.0)),
    ],
)  # fmt: skip
def test_scales_of_steps(step: dict, expected: tuple) -> None:
    assert scale_of(step, (100, 200)) == expected


@pytest.mark.parametrize("scale", [(64, 48), (33, 100), (200, 300)])
def test_keep_ratio_is_mmcv_s(scale: tuple[int, int]) -> None:
    from mmcv.image import rescale_size

    width, height = rescale_size((123, 77), scale)
    factor, _ = scale_of({"type": "Resize", "scale": scale, "keep_ratio": True}, (77, 123))
    assert (round(123 * factor), round(77 * factor)) == pytest.approx((width, height), abs=1)


@pytest.mark.parametrize(
    ("config", "stride"),
    [
        ("yolox/yolox_tiny_8xb8-300e_coco.py", 8),  # the head's default
        ("retinanet/retinanet_r50_fpn_1x_coco.py", 8),
        ("faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", 4),
        ("rtmdet/rtmdet_tiny_8xb32-300e_coco.py", 8),
        ("detr/detr_r50_8xb2-150e_coco.py", None),  # queries, no grid
    ],
)
def test_strides_of_heads(config: str, stride: int | None) -> None:
    cfg = load_config(f"mmdet::{config}")
    init_default_scope("mmdet")
    assert smallest_stride(cfg.model) == stride


def test_no_resize_means_the_stored_size() -> None:
    objects = [
        SizedObject(0, (7, 7), (64, 64), Place("a")),
        SizedObject(0, (9, 9), (64, 64), Place("b")),
    ]
    found = below_stride(objects, ["x"], [], 8)
    assert found is not None and found.places == (Place("a"),)


# --- train and val -------------------------------------------------------------------------------


def photo(seed: int) -> np.ndarray:
    """Smooth and of many greys, as photographs are."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC)


def test_images_in_both_splits_are_found(tmp_path: Path) -> None:
    images = {name: photo(seed) for seed, name in enumerate("abcdef")}
    images["e"] = cv2.GaussianBlur(images["a"], (3, 3), 0)  # a copy, worked on
    for name, image in images.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    shutil.copy(tmp_path / "b.png", tmp_path / "copy.png")
    path = {p.stem: str(p) for p in tmp_path.iterdir()}
    train, val = [path[n] for n in "abc"], [path[n] for n in ("c", "copy", "e", "f")]
    plain = shared_images(train, val, "val")
    assert [f.check for f in plain] == ["image-in-both", "copy-in-both"]
    assert plain[1].places == (Place(path["copy"], f"a copy of {path['b']}"),)
    full = shared_images(train, val, "val", near=True)
    assert [p.file for p in full[2].places] == [path["e"]]


def test_hash_against_the_plain_definition() -> None:
    image = photo(3)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (17, 16), interpolation=cv2.INTER_AREA)
    bits = [int(small[r, c + 1]) > int(small[r, c]) for r in range(16) for c in range(16)]
    assert difference_hash(image).tolist() == bits


def test_plain_images_are_not_all_alike(tmp_path: Path) -> None:
    for shade in (10, 200):
        cv2.imwrite(str(tmp_path / f"{shade}.png"), np.full((20, 20, 3), shade, np.uint8))
    assert near_copies([str(tmp_path / "10.png")], [str(tmp_path / "200.png")]) == {}


def test_real_sets_share_no_image_that_looks_alike(shared_data: Path) -> None:
    """Blood cells and nuclei look much the same: too coarse a hash would call them copies."""
    from mmattn.boxes import BoxFolder

    for name in ("bccd", "nuclei"):
        folder = BoxFolder(str(shared_data / name))
        paths = [[i.path for i in folder.records(split).images] for split in ("train", "val")]
        assert shared_images(paths[0][:60], paths[1], "val", near=True) == []


# --- the command ---------------------------------------------------------------------------------


def run(root: Path, out: Path, *more: str) -> int:
    options = [f"{k}={v}".replace(" ", "") for k, v in SMALL.items()]
    return main(
        ["check", YOLOX, "--json", str(out), *more, "--cfg-options", f"data={root}", *options]
    )


def test_json_has_every_place(
    tmp_path: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_yolo(tmp_path / "d", train=8)
    for index in range(5):
        file = root / f"labels/train/{index:03d}.txt"
        file.write_text(file.read_text() + "\n0 0.5 0.5 0 0.1")
    shutil.copy(root / "images/train/000.png", root / "images/val/000.png")
    shutil.copy(root / "labels/train/000.txt", root / "labels/val/000.txt")
    before = {p: p.stat().st_mtime_ns for p in sorted(root.rglob("*"))}
    assert run(root, tmp_path / "found.json") == 0
    assert {p: p.stat().st_mtime_ns for p in sorted(root.rglob("*"))} == before
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["fits"] is True and found["error"] is None
    train, val = found["datasets"]
    (no_area,) = [f for f in train["findings"] if f["check"] == "no-area"]
    assert len(no_area["places"]) == 5
    assert no_area["places"][0]["file"] == f"{root}/labels/train/000.txt"
    assert no_area["places"][0]["item"] == "line 3" and no_area["fix"]
    (copy,) = [f for f in val["findings"] if f["check"] == "copy-in-both"]
    assert copy["places"][0]["file"] == f"{root}/images/val/000.png"
    assert train["counts"] == {"cell": 8, "dot": 4, "rod": 8}
    shown = capsys.readouterr().out
    assert "model.bbox_head.num_classes=3 (the config has 80)." in shown
    assert "boxes without area are left out (5): " in caplog.text and "and 2 more" in caplog.text


def test_json_has_the_error(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = write_yolo(tmp_path / "d")
    (root / "labels/train/000.txt").write_text("0 5 5 3 3")
    assert run(root, tmp_path / "found.json") == DataError.exit_code
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["fits"] is False and found["error"]["type"] == "DataError"
    assert "000.txt (line 1)" in found["error"]["text"]
    assert "000.txt (line 1)" in capsys.readouterr().err
