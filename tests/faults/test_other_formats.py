"""Promise: the same faults in Pascal VOC, YOLO and panoptic files get the same verdicts as in COCO.

``tests/faults/test_coco_files.py`` has the table for COCO.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mmattn.errors import DataError
from mmattn.preflight.data import DatasetReport, check_dataset
from tests.support.box_folders import write_panoptic, write_voc, write_yolo
from tests.support.coco_faults import READ, Verdict, refused, told

WHERE = "train_dataloader.dataset"
LOADER = {"type": "LoadImageFromFile"}


def judge(verdict: Verdict, check: Callable[[Path], DatasetReport], root: Path) -> None:
    if verdict.kind == "refused":
        with pytest.raises(DataError, match=verdict.words) as error:
            check(root)
        assert str(error.value).startswith(WHERE)
        return
    report = check(root)
    said = [*(finding.check for finding in report.findings), *report.warnings]
    if verdict.kind == "told":
        assert any(re.search(verdict.words, text) for text in said), said
    else:
        assert not said


def folder(root: Path, **options: Any) -> DatasetReport:
    cfg = {
        "type": "mmattn.FolderDetDataset",
        "data_root": str(root),
        "split": "train",
        "pipeline": [LOADER],
        **options,
    }
    return check_dataset(cfg, WHERE)


def panoptic_folder(root: Path) -> DatasetReport:
    return folder(root, targets="panoptic")


# --- Pascal VOC ----------------------------------------------------------------------------------

BOX = "<bndbox><xmin>40</xmin><ymin>12</ymin><xmax>88</xmax><ymax>24</ymax></bndbox>"
SIZE = "<size><width>96</width><height>64</height><depth>3</depth></size>"


def plain_voc(root: Path) -> DatasetReport:
    made = []
    for image in (root / "JPEGImages").glob("*.png"):  # mmdet's reader asks for another ending
        made.append(image.with_suffix(".jpg"))
        made[-1].write_bytes(image.read_bytes())
    cfg = {
        "type": "mmdet.VOCDataset",
        "data_root": str(root),
        "ann_file": "ImageSets/Main/train.txt",
        "data_prefix": {"sub_data_root": ""},
        "metainfo": {"classes": ("cell", "dot", "rod")},
        "filter_cfg": {"filter_empty_gt": True, "min_size": 32},
        "pipeline": [LOADER],
    }
    try:
        return check_dataset(cfg, WHERE)
    finally:
        for image in made:
            image.unlink()


def box(x1: Any, y1: Any, x2: Any, y2: Any) -> str:
    return f"<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>"


#: Name -> what is replaced in 001.xml, by what, the verdict of a folder and of a plain config.
VOC: dict[str, tuple[str, str, Verdict, Verdict]] = {
    "NaN": (BOX, box("nan", 12, 88, 24), refused("boxes are not four"), refused("cannot be read")),
    "infinite": (BOX, box(40, 12, "inf", 24), refused("not four"), refused("cannot be read")),
    "text": (BOX, box("x", 12, 88, 24), refused("not four numbers"), refused("cannot be read")),
    "no box": (BOX, "", refused("not four numbers"), refused("cannot be read")),
    "no xmax": (BOX, BOX.replace("<xmax>88</xmax>", ""), refused("not four numbers"),
                refused("cannot be read")),
    "reversed": (BOX, box(88, 12, 40, 24), refused("end before they begin"), told("not usable")),
    "no width": (BOX, box(40, 12, 40, 24), told("no-area"), told("not usable")),
    "below a pixel": (BOX, box(40, 12, 40.4, 24), told("below-a-pixel"), told("not usable")),
    "outside": (BOX, box(400, 12, 440, 24), told("outside"), told("not usable")),
    "beyond": (BOX, box(40, 12, 188, 24), told("beyond-image"), told("reach beyond")),
    "no name": ("<name>rod</name>", "", refused("have no name"), refused("cannot be read")),
    "another name": ("<name>rod</name>", "<name>rode</name>", READ, told("rode")),
    "no size": (SIZE, "", told("no-size"), READ),
    "size 0": (SIZE, "<size><width>0</width><height>0</height></size>", told("no-size"), READ),
    "size infinite": (SIZE, SIZE.replace("96", "inf"), told("no-size"),
                      refused("cannot be read")),
    "size swapped": (SIZE, SIZE.replace("96", "x").replace("64", "96").replace("x", "64"),
                     refused("height and width are swapped"), refused("are swapped")),
    "another size": (SIZE, SIZE.replace("96", "960"), refused("its annotation says 64 x 960"),
                     refused("its annotation says 64 x 960")),
    "cut off": ("</annotation>", "", refused("is not valid XML"), refused("cannot be read")),
    "another root": ("annotation>", "recipe>", refused("holds <recipe>"), READ),
    "difficult": ("<difficult>0</difficult>", "<difficult>1</difficult>", told("difficult"), READ),
    "a byte order mark": ("<annotation>", "\ufeff<annotation>", READ, READ),
}  # fmt: skip


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voc(tmp_path_factory.mktemp("voc") / "d")


@pytest.mark.parametrize("name", VOC)
@pytest.mark.parametrize("check", [folder, plain_voc])
def test_wrong_files_of_voc(name: str, check: Callable, voc: Path) -> None:
    old, new, in_folder, in_plain = VOC[name]
    file = voc / "Annotations/001.xml"
    text = file.read_text()
    assert old in text
    try:
        file.write_text(text.replace(old, new, 1 if "annotation>" not in old else -1))
        judge(in_folder if check is folder else in_plain, check, voc)
    finally:
        file.write_text(text)


# --- YOLO ----------------------------------------------------------------------------------------

#: Name -> the line that is added to 001.txt, and the verdict.
YOLO: dict[str, tuple[str, Verdict]] = {
    "NaN": ("0 nan 0.5 0.2 0.2", refused("not four numbers")),
    "infinite": ("0 0.5 0.5 inf 0.2", refused("not four numbers")),
    "pixels": ("0 48 32 10 10", refused("values below 0 or above 1")),
    "negative": ("0 0.5 0.5 -0.2 0.2", refused("values below 0 or above 1")),
    "no width": ("0 0.5 0.5 0 0.2", told("no-area")),
    "below a pixel": ("0 0.5 0.5 0.001 0.2", told("below-a-pixel")),
    "three numbers": ("0 0.5 0.5 0.2", refused("lines are no boxes")),
    "a name": ("cell 0.5 0.5 0.2 0.2", refused("lines are no boxes")),
    "half a class": ("0.5 0.5 0.5 0.2 0.2", refused("lines are no boxes")),
    "a class too many": ("7 0.5 0.5 0.2 0.2", refused("class number 7 has no name")),
    "class -1": ("-1 0.5 0.5 0.2 0.2", refused("class number -1 has no name")),
    "commas": ("0,0.5,0.5,0.2,0.2", refused("lines are no boxes")),
    "a confidence": ("0 0.5 0.5 0.2 0.2 0.9", told("sixth")),
    "twice": ("0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2", told("duplicate-box")),
    "NaN of a class": ("nan 0.5 0.5 0.2 0.2", refused("lines are no boxes")),
    "blank lines": ("\n\n  \n", READ),
}


@pytest.fixture(scope="module")
def yolo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_yolo(tmp_path_factory.mktemp("yolo") / "d")


@pytest.mark.parametrize("name", YOLO)
def test_wrong_files_of_yolo(name: str, yolo: Path) -> None:
    line, verdict = YOLO[name]
    file = next(yolo.rglob("labels/train/001.txt"))
    text = file.read_text()
    try:
        file.write_text(f"{text}\n{line}\n")
        judge(verdict, folder, yolo)
    finally:
        file.write_text(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe0\x00 \x00", r"001\.txt cannot be read as text"),
        (bytes(100), r"lines are no boxes"),
    ],
)
def test_bytes_that_are_no_labels(content: bytes, message: str, yolo: Path) -> None:
    file = next(yolo.rglob("labels/train/001.txt"))
    text = file.read_text()
    try:
        file.write_bytes(content)
        judge(refused(message), folder, yolo)
    finally:
        file.write_text(text)


# --- panoptic ------------------------------------------------------------------------------------


def segment(**changes: Any) -> Callable[[dict], Any]:
    """Return an edit of the second segment of the first image."""

    def edit(content: dict) -> None:
        entry = content["annotations"][0]["segments_info"][1]
        for key, value in changes.items():
            if value is None:
                del entry[key]
            else:
                entry[key] = value

    return edit


def of_category(**changes: Any) -> Callable[[dict], Any]:
    return lambda content: content["categories"][1].update(changes)


PANOPTIC: dict[str, tuple[Callable[[dict], Any], str]] = {
    "no category": (segment(category_id=None), "has no category_id"),
    "unknown category": (segment(category_id=77), "category_id that is the id of none"),
    "category a text": (segment(category_id="4"), "'4' is no id of a category while 4 is"),
    "no id": (segment(id=None), "the id None"),
    "id a text": (segment(id="300"), "the id '300'"),
    "another id": (segment(id=999), "does not show 1 of its"),
    "iscrowd a text": (segment(iscrowd="0"), "iscrowd that is neither 0 nor 1"),
    "a thing or not": (of_category(isthing=None), "does not say whether it is a thing"),
    "isthing 2": (of_category(isthing=2), "does not say whether it is a thing"),
    "name a number": (of_category(name=3), "not a text"),
    "name empty": (of_category(name=""), "is empty"),
    "no segments": (lambda c: c["annotations"][0].update(segments_info=[]), "does not list"),
    "no segments_info": (lambda c: c["annotations"][0].pop("segments_info"),
                         "has no segments_info"),
    "no file_name": (lambda c: c["annotations"][0].pop("file_name"), "has no file_name"),
    "another map": (lambda c: c["annotations"][0].update(file_name="gone.png"),
                    "panoptic map gone.png|do not exist"),
    "unknown image": (lambda c: c["annotations"][0].update(image_id=77), "id of none of its"),
    "image id twice": (lambda c: c["images"][1].update(id=1), "gives the id 1 to"),
}  # fmt: skip


@pytest.fixture(scope="module")
def panoptic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_panoptic(tmp_path_factory.mktemp("panoptic") / "d")


PANOPTIC_STEPS = [LOADER, {"type": "mmdet.LoadPanopticAnnotations"}]


@pytest.mark.parametrize("name", PANOPTIC)
def test_wrong_panoptic_files(name: str, panoptic: Path) -> None:
    edit, message = PANOPTIC[name]
    file = panoptic / "annotations/panoptic_train.json"
    text = file.read_text()
    content = json.loads(text)
    edit(content)
    try:
        file.write_text(json.dumps(content))
        with pytest.raises(DataError, match=message):
            folder(panoptic, targets="panoptic", pipeline=PANOPTIC_STEPS)
    finally:
        file.write_text(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pixels: pixels[:32], "is 32 x 96 .*its image"),
        (lambda pixels: pixels[..., 0], "does not show|three colour channels|does not list"),
        (lambda pixels: np.zeros_like(pixels), "does not show 3 of its 3 segments"),
        (lambda pixels: pixels // 2, "does not show|does not list"),
    ],
    ids=["another size", "one channel", "black", "halved"],
)
def test_wrong_panoptic_maps(change: Callable, message: str, panoptic: Path) -> None:
    path = panoptic / "annotations/panoptic_train/000.png"
    content = path.read_bytes()
    try:
        cv2.imwrite(str(path), change(cv2.imread(str(path))))
        with pytest.raises(DataError, match=message):
            folder(panoptic, targets="panoptic", pipeline=PANOPTIC_STEPS)
    finally:
        path.write_bytes(content)


def test_sound_files_pass(voc: Path, yolo: Path, panoptic: Path) -> None:
    for report in (folder(voc), plain_voc(voc), folder(yolo), panoptic_folder(panoptic)):
        assert report.entries and not report.warnings
