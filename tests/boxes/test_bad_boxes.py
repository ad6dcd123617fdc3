"""Promise: bad input ends in a typed error with file, item and fix, or is left out and counted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmattn.boxes import BoxFolder, BoxRecords, FolderDetDataset, class_findings
from mmattn.errors import DataError
from tests.support.box_folders import (
    SIZE,
    objects_of,
    write_coco,
    write_panoptic,
    write_voc,
    write_voc_file,
    write_yolo,
    yolo_lines,
)

TRAIN = "annotations/instances_train2017.json"


def change(root: Path, edit: Callable[[dict], Any], file: str = TRAIN) -> None:
    """Edit a COCO file in place."""
    content = json.loads((root / file).read_text())
    edit(content)
    (root / file).write_text(json.dumps(content))


def found(records: BoxRecords) -> dict[str, list[str]]:
    """Checks that found something -> the places."""
    return {f.check: [str(p) for p in f.places] for f in records.findings}


# --- COCO ----------------------------------------------------------------------------------------

BROKEN_COCO: dict[str, tuple[Callable[[dict], Any], str]] = {
    "nan": (
        lambda c: c["annotations"][2].update(bbox=[1, 2, float("nan"), 4]),
        r"1 of 10 boxes are not four numbers: .*train2017\.json \(annotation 3\).*bad_objects=skip",
    ),
    "negative": (
        lambda c: c["annotations"][2].update(bbox=[10, 10, -4, 5]),
        r"1 of 10 boxes end before they begin: .*\(annotation 3\); \[x, y, width, height\]",
    ),
    "no image of this id": (
        lambda c: c["annotations"][0].update(image_id=77),
        r"1 of 10 annotations have a image_id that is the id of none of its 4 images.*77",
    ),
    "no category of this id": (
        lambda c: c["annotations"][0].update(category_id=77),
        r"category_id that is the id of none of its 3 categories",
    ),
    "listed twice": (
        lambda c: c["images"].append({**c["images"][0], "id": 99}),
        r"lists the image 000\.png twice, with the ids 10 and 99",
    ),
    "an id twice": (
        lambda c: c["images"].append({"id": 10, "file_name": "x.png"}),
        r"gives the id 10 to '000\.png' and to 'x\.png'",
    ),
    "two categories of one name": (
        lambda c: c["categories"].append({"id": 50, "name": "cell"}),
        r"categories 4, 50 have the one name 'cell'",
    ),
    "an id that is a list": (
        lambda c: c["annotations"][2].update(id=[3]),
        r"an annotation has the id \[3\], not a number",
    ),
    "an id without end": (
        lambda c: c["images"][0].update(id=float("inf")),
        r"1 of 4 images have an id that is not whole, such as inf|image_id that is the id of none",
    ),
    "no name of a file": (
        lambda c: c["images"][1].pop("file_name"),
        r"the image 11 has the file_name None",
    ),
    "an absent image": (
        lambda c: c["images"][1].update(file_name="gone.png"),
        r"1 of 4 images that it names are not below .*: gone\.png.*missing_images=skip",
    ),
}


@pytest.mark.parametrize("fault", BROKEN_COCO)
def test_broken_coco(fault: str, tmp_path: Path) -> None:
    root = write_coco(tmp_path / "d")
    edit, message = BROKEN_COCO[fault]
    change(root, edit)
    with pytest.raises(DataError, match=message) as error:
        BoxFolder(str(root)).records("train")
    assert TRAIN in str(error.value)


def test_a_height_without_end_is_read_from_the_image(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "d")
    change(root, lambda c: c["images"][0].update(height=float("inf")))
    records = BoxFolder(str(root)).records("train")
    assert records.images[0].size == SIZE
    assert found(records)["no-size"] == [str(root / TRAIN) + " (image 10)"]


@pytest.mark.parametrize("segments", [None, 3, {"id": 1}, "x"])
def test_segments_that_are_no_list(segments: Any, tmp_path: Path) -> None:
    root = write_panoptic(tmp_path / "d")
    file = "annotations/panoptic_train.json"
    change(root, lambda c: c["annotations"][1].update(segments_info=segments), file)
    with pytest.raises(DataError, match=r"the segments_info of annotations\[1\] \(image 2\)"):
        BoxFolder(str(root), targets="panoptic").records("train")


def test_what_is_no_json_is_named(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "d")
    text = (root / TRAIN).read_text()
    (root / TRAIN).write_text(text[: len(text) - 40])
    with pytest.raises(DataError, match=r"instances_train2017\.json is not valid JSON .*cut off"):
        BoxFolder(str(root)).records("train")
    (root / TRAIN).write_text("{}")
    (root / "annotations/instances_val2017.json").unlink()
    with pytest.raises(DataError, match=r"instances_train2017\.json is not COCO's format"):
        BoxFolder(str(root))


@pytest.mark.parametrize("name", ["boxes.json", "annotations/all.json", "instances_train.json"])
def test_broken_json_is_named_with_line_and_character(tmp_path: Path, name: str) -> None:
    root = write_coco(tmp_path / "my")
    text = (root / TRAIN).read_text()
    shutil.rmtree(root / "annotations")
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text('{"images": [\n' + text[12:60])
    with pytest.raises(DataError, match=rf"{name} is not valid JSON \(.* line 2 column .*char \d+"):
        BoxFolder(str(root))


def test_the_broken_file_of_one_split_is_not_passed_over(tmp_path: Path) -> None:
    """Otherwise val would be drawn from train while a val.json lies there."""
    root = write_coco(tmp_path / "my")
    val = root / "annotations/instances_val2017.json"
    val.write_text(val.read_text()[:120])  # "categories" is gone, by which the format is told
    with pytest.raises(DataError, match=r"instances_val2017\.json is not valid JSON \(.* line 1"):
        BoxFolder(str(root))


def test_skipping_is_counted_and_named(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "d")
    change(root, BROKEN_COCO["nan"][0])
    change(root, lambda content: content["images"][3].update(file_name="gone.png"))
    records = BoxFolder(str(root), bad_objects="skip", missing_images="skip").records("train")
    places = found(records)
    assert places["not-numbers"] == [f"{root / TRAIN} (annotation 3)"]
    assert "gone.png" in places["missing-image"][0]
    assert len(records.images) == 3


def test_small_faults_are_left_out_and_counted(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "d")
    boxes = {0: [5, 5, 0, 9], 1: [200, 200, 9, 9], 2: [5, 5, 0.5, 9], 3: [80, 40, 60, 9]}

    def edit(content: dict) -> None:
        for index, box in boxes.items():
            content["annotations"][index]["bbox"] = box
        content["annotations"].append({**content["annotations"][5], "id": 6})
        content["images"][3].pop("height")

    change(root, edit)
    records = BoxFolder(str(root)).records("train")
    places = found(records)
    for check, number in {
        "no-area": 1,
        "outside": 2,
        "below-a-pixel": 3,
        "beyond-image": 4,
    }.items():
        assert places[check] == [f"{root / TRAIN} (annotation {number})"], check
    assert places["duplicate-box"] == places["annotation-id"] == [f"{root / TRAIN} (annotation 6)"]
    assert places["no-size"] == [f"{root / TRAIN} (image 13)"]
    assert records.images[3].size == (64, 96)
    assert sum(len(i.objects) for i in records.images) == 8
    assert "boxes without area are left out (1): " in str(records.findings[0])


def test_a_class_without_an_object_is_said(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "d")
    change(root, lambda c: c["categories"].append({"id": 1, "name": "Rod"}))
    folder = BoxFolder(str(root))
    findings = {f.check: str(f) for f in class_findings(folder.records("train"), folder.classes())}
    assert findings["class-without-object"] == "1 class has no object here: 'Rod'"
    assert "'rod' and 'Rod' differ in letter case" in findings["similar-names"]


def test_masks_that_are_none(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "d", masks="polygons")
    change(root, lambda c: c["annotations"][1].update(segmentation=[[1, 2, 3, 4]]))
    BoxFolder(str(root)).records("train")  # a detector does not ask for them
    with pytest.raises(DataError, match=r"masks are neither polygons.*\(annotation 2\)"):
        BoxFolder(str(root), targets="masks").records("train")
    root = write_coco(tmp_path / "e")
    with pytest.raises(DataError, match=r"10 of 10 objects have no mask.*detector of boxes"):
        BoxFolder(str(root), targets="masks").records("train")
    root = write_coco(tmp_path / "f", masks="rle")
    change(root, lambda c: c["annotations"][0]["segmentation"].update(size=[96, 64]))
    with pytest.raises(DataError, match=r"1 of 10 masks are neither"):
        BoxFolder(str(root), targets="masks").records("train")


# --- Pascal VOC ----------------------------------------------------------------------------------


def test_voc_without_size(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "d")
    write_voc_file(root / "Annotations/001.xml", objects_of(1), size="")
    zero = "<size><width>0</width><height>0</height></size>"
    write_voc_file(root / "Annotations/002.xml", objects_of(2), size=zero)
    records = BoxFolder(str(root)).records("train")
    assert [image.size for image in records.images] == [(64, 96)] * 4
    assert [Path(p).name for p in found(records)["no-size"]] == ["001.xml", "002.xml"]
    assert "read from the images" in str(records.findings[0])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</annotation>", "", r"001\.xml is not valid XML .*cut off"),
        ("annotation>", "recipe>", r"001\.xml holds <recipe>, where Pascal VOC has <annotation>"),
        ("<xmin>40</xmin>", "<xmin>x</xmin>", r"1 of 10 boxes are not four numbers.*object 2, rod"),
        ("<xmin>40</xmin>", "<xmin>90</xmin>", r"boxes end before they begin.*001\.xml \(object 2"),
        ("<name>rod</name>", "", r"1 of 10 objects have no name: .*001\.xml \(object 2\)"),
    ],
)
def test_broken_voc(old: str, new: str, message: str, tmp_path: Path) -> None:
    root = write_voc(tmp_path / "d")
    file = root / "Annotations/001.xml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message):
        BoxFolder(str(root)).records("train")


def test_lists_of_voc(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "d")
    train = root / "ImageSets/Main/train.txt"
    lines = train.read_text()
    train.write_text(f"{lines}\n001\n")
    with pytest.raises(DataError, match=r"train\.txt lists 1 images twice: 001 \(lines 2 and 5\)"):
        BoxFolder(str(root))
    train.write_text(f"{lines}\n077\n")
    with pytest.raises(DataError, match=r"1 of 5 images have no annotation: 077"):
        BoxFolder(str(root))
    train.write_text("000\n001")
    assert "2 annotations are in no list" in BoxFolder(str(root)).layout.notes[0]
    (root / "JPEGImages/000.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 images .*000\.xml.*missing_images=skip"):
        BoxFolder(str(root)).records("train")


# --- YOLO ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.2", r"lines are no boxes: .*000\.txt \(line 3\)"),
        ("cell 0.5 0.5 0.2 0.2", r"lines are no boxes: .*000\.txt \(line 3\)"),
        ("0.5 0.5 0.5 0.2 0.2", r"lines are no boxes"),
        ("0 48 32 10 10", r"values below 0 or above 1: .*000\.txt \(line 3\).*divide by its width"),
        ("0 0.5 0.5 -0.2 0.2", r"values below 0 or above 1"),
        ("0 nan 0.5 0.2 0.2", r"not four numbers"),
        ("3 0.5 0.5 0.2 0.2", r"line 3\): the class number 3 has no name: .*data\.yaml names 3"),
    ],
)
def test_broken_yolo(line: str, message: str, tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "d")
    (root / "labels/train/000.txt").write_text(f"{yolo_lines(objects_of(0))}\n{line}\n")
    with pytest.raises(DataError, match=message):
        BoxFolder(str(root)).records("train")


def test_a_sixth_number_and_an_empty_file_are_counted(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "d")
    (root / "labels/train/000.txt").write_text("0 0.5 0.5 0.2 0.2 0.93\n")
    (root / "labels/train/001.txt").write_text("\n")
    (root / "labels/train/002.txt").unlink()
    records = BoxFolder(str(root)).records("train")
    places = found(records)
    assert places["sixth"] == [f"{root}/labels/train/000.txt (line 1)"]
    assert [Path(p).name for p in places["no-label"]] == ["001.png", "002.png"]
    assert [len(image.objects) for image in records.images] == [1, 0, 0, 3]


def test_labels_without_images(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "d", yaml=False)
    (root / "labels/train/lost.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(DataError, match=r"1 label files belong to no image: .*lost\.txt"):
        BoxFolder(str(root))
    folder = BoxFolder(str(root), missing_images="skip")
    assert any("lost.txt" in note for note in folder.layout.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a, b\ntrain: x", r"data\.yaml is not valid YAML"),
        ("names: [a, b]\nnc: 3\ntrain: images/train", r"nc is 3, but names has 2 names"),
        ("names: {0: a, 2: b}\ntrain: images/train", r"0 to 1 without a gap"),
        ("names: [a, a]\ntrain: images/train", r"the name 'a' twice"),
        ("names: [a, b]\ntrain: pictures", r"pictures: there is none of"),
    ],
)
def test_broken_yaml(text: str, message: str, tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "d")
    (root / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        BoxFolder(str(root))


# --- folders -------------------------------------------------------------------------------------


def test_a_folder_of_nothing_known(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "d")
    shutil.rmtree(root / "Annotations")
    with pytest.raises(DataError, match=r"no annotations that are known; it holds \.png x 6"):
        BoxFolder(str(root))
    with pytest.raises(DataError, match="no such folder"):
        BoxFolder(str(tmp_path / "dd"))
    (tmp_path / "boxes.csv").write_text("a,b")
    with pytest.raises(DataError, match=r"boxes\.csv: a file of boxes is COCO's \.json"):
        BoxFolder(str(tmp_path / "boxes.csv"))


def test_an_image_that_is_none(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "d")
    (root / "images/train/001.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"the image .*001\.png cannot be read"):
        BoxFolder(str(root)).records("train")


@pytest.mark.parametrize("targets", ["masks", "panoptic"])
def test_what_a_format_cannot_hold(targets: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds Pascal VOC, which has boxes alone"):
        BoxFolder(str(write_voc(tmp_path / "d")), targets=targets)


def test_one_image_cannot_be_split(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "d", train=1, val=1)
    (root / "annotations/instances_val2017.json").unlink()
    with pytest.raises(DataError, match="one image cannot be split"):
        BoxFolder(str(root)).records("train")


@pytest.mark.parametrize("given", [False, True])
def test_a_file_of_the_other_form(tmp_path: Path, given: bool) -> None:
    """Instance masks are no panoptic segments, and the reverse; boxes are read from both."""
    instances = write_coco(tmp_path / "instances", masks="polygons")
    panoptic = write_panoptic(tmp_path / "panoptic")
    for root, file, targets, said in (
        (instances, "instances_val2017.json", "panoptic", "without segments_info"),
        (panoptic, "panoptic_val.json", "masks", "is a panoptic file"),
    ):
        options = {"ann_file": {"val": f"annotations/{file}"}} if given else {}
        with pytest.raises(DataError, match=rf"\w+\.json .*{said}.*data\.ann_file"):
            FolderDetDataset(str(root), split="val", targets=targets, pipeline=[], **options)
    assert len(FolderDetDataset(str(panoptic), split="val", targets="boxes", pipeline=[])) == 2
