"""Promise: COCO, Pascal VOC and YOLO come out as the same records, split and named alike."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mmattn.boxes import BoxFolder, BoxRecords, class_findings
from mmattn.data.folder.draw import draw
from mmattn.errors import ConfigError, DataError
from tests.support.box_folders import (
    NAMES,
    objects_of,
    write_coco,
    write_image,
    write_panoptic,
    write_voc,
    write_voc_file,
    write_yolo,
    yolo_lines,
)

WRITERS: dict[str, Callable[[Path], Path]] = {
    "coco": write_coco,
    "voc": write_voc,
    "yolo": write_yolo,
    "yolo without yaml": lambda root: write_yolo(root, yaml=False),
}


def plain(records: BoxRecords) -> list[tuple]:
    """What was read, without what a format alone has."""
    return [
        (Path(image.path).name, image.size, [(o.name, *(round(v, 3) for v in o.box))
                                             for o in image.objects])
        for image in records.images
    ]  # fmt: skip


def expected(numbers: range) -> list[tuple]:
    """The same, from what was written."""
    return [(f"{i:03d}.png", (64, 96), [tuple(o) for o in objects_of(i)]) for i in numbers]


@pytest.mark.parametrize("form", WRITERS)
def test_every_format_gives_the_objects_that_were_written(form: str, tmp_path: Path) -> None:
    folder = BoxFolder(str(WRITERS[form](tmp_path / "d")))
    assert plain(folder.records("train")) == expected(range(4))
    assert plain(folder.records("val")) == expected(range(4, 6))
    assert plain(folder.records("all")) == expected(range(6))
    assert sorted(folder.classes().names) == sorted(NAMES)
    line = folder.describe("train", folder.records("train"))
    assert line.startswith("train: 4 images in") and "10 objects" in line
    assert {"c": "COCO JSON", "v": "Pascal VOC", "y": "YOLO text"}[form[0]] in line


@pytest.mark.parametrize("form", WRITERS)
def test_nothing_is_written(form: str, tmp_path: Path) -> None:
    root = WRITERS[form](tmp_path / "d")
    before = {p: p.stat().st_mtime_ns for p in sorted(root.rglob("*"))}
    BoxFolder(str(root)).records("train")
    assert {p: p.stat().st_mtime_ns for p in sorted(root.rglob("*"))} == before


# --- where things lie ----------------------------------------------------------------------------


def test_one_json_with_its_images_anywhere_below(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "d", train=6, val=1)
    (root / "my pictures").mkdir()
    shutil.move(root / "train2017", root / "my pictures/2024")
    file = root / "annotations/instances_train2017.json"
    folder = BoxFolder(str(file))
    read = {s: [i.name for i in folder.records(s).images] for s in ("train", "val")}
    assert set(read["val"]) == draw([f"{i:03d}" for i in range(6)], 0.2, 0)
    assert sorted(read["train"] + read["val"]) == [f"{i:03d}" for i in range(6)]
    assert "drawn by val_fraction 0.2" in folder.describe("val", folder.records("val"))


def test_images_of_equal_names_are_told_apart_by_the_split(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "d", train=2, val=2)
    text = (root / "annotations/instances_train2017.json").read_text()
    (root / "annotations/instances_val2017.json").write_text(text)
    for file in (root / "train2017").iterdir():
        shutil.copy(file, root / "val2017" / file.name)
    folder = BoxFolder(str(root))
    for split in ("train", "val"):
        paths = [image.path for image in folder.records(split).images]
        assert all(f"/{split}2017/" in path for path in paths)


def test_images_that_could_be_two_are_refused_with_the_setting(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "d")
    shutil.copytree(root / "JPEGImages", root / "Copies")
    shutil.move(root / "JPEGImages", root / "Originals")
    with pytest.raises(DataError, match=r"'Copies' and 'Originals'.*Set data\.img_dir=Copies"):
        BoxFolder(str(root)).records("train")
    images = BoxFolder(str(root), img_dir="Originals").records("train").images
    assert "/Originals/" in images[0].path


def test_two_formats_are_refused_with_the_setting(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "d")
    write_coco(tmp_path / "c")
    shutil.copytree(tmp_path / "c/annotations", root / "annotations_json")
    with pytest.raises(DataError, match=r"COCO JSON .* and Pascal VOC .*set data\.layout=coco or"):
        BoxFolder(str(root))
    assert len(BoxFolder(str(root), layout="voc").records("train").images) == 4


def test_two_files_for_one_split_are_refused_with_the_setting(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "d")
    for name in ("a_train.json", "b_train.json"):
        shutil.copy(root / "annotations/instances_train2017.json", root / "annotations" / name)
    BoxFolder(str(root))  # "instances" is COCO's own word
    (root / "annotations/instances_train2017.json").unlink()
    with pytest.raises(DataError, match=r"data\.ann_file\.train=annotations/a_train\.json"):
        BoxFolder(str(root))
    files = {"train": "annotations/a_train.json", "val": "annotations/instances_val2017.json"}
    assert len(BoxFolder(str(root), ann_file=files).records("train").images) == 4


def test_voc_without_lists_in_annots_and_images(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "d")
    shutil.rmtree(root / "ImageSets")
    (root / "Annotations").rename(root / "annots")
    (root / "JPEGImages").rename(root / "images")
    folder = BoxFolder(str(root))
    assert plain(folder.records("all")) == expected(range(6))
    assert folder.layout.drawn == "all"


def test_voc_split_by_folders_with_the_images_beside(tmp_path: Path) -> None:
    for split, number in {"train": 0, "valid": 1}.items():
        write_image(tmp_path / f"d/{split}/{number}.png", objects_of(number))
        write_voc_file(tmp_path / f"d/{split}/{number}.xml", objects_of(number))
    folder = BoxFolder(str(tmp_path / "d"))
    assert [Path(i.path).name for i in folder.records("val").images] == ["1.png"]


def test_yolo_flat_and_yolo_split_outside(tmp_path: Path) -> None:
    for index in range(6):
        write_image(tmp_path / f"flat/{index:03d}.png", objects_of(index))
        (tmp_path / f"flat/{index:03d}.txt").write_text(yolo_lines(objects_of(index)))
        place = tmp_path / ("out/train" if index < 4 else "out/val")
        write_image(place / f"images/{index:03d}.png", objects_of(index))
        (place / "labels").mkdir(exist_ok=True)
        (place / f"labels/{index:03d}.txt").write_text(yolo_lines(objects_of(index)))
    flat = BoxFolder(str(tmp_path / "flat"))
    assert next(row[2] for row in plain(flat.records("all"))) == [
        (f"class {NAMES.index(o[0])}", *o[1:]) for o in objects_of(0)
    ]
    assert flat.classes().names == ("class 0", "class 1", "class 2")
    (tmp_path / "out/classes.txt").write_text("\n".join(NAMES))
    assert plain(BoxFolder(str(tmp_path / "out")).records("train")) == expected(range(4))


def test_a_yaml_names_lists_and_folders_from_elsewhere(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "d")
    (root / "train.txt").write_text("./images/train/000.png\n./images/train/002.png\n")
    (root / "data.yaml").write_text(
        f"train: train.txt\nval: ../images/val\nnames: [{', '.join(NAMES)}]\n"
    )
    for place in (root, root / "data.yaml"):
        folder = BoxFolder(str(place))
        assert [i.name for i in folder.records("train").images] == ["train/000", "train/002"]
        assert len(folder.records("val").images) == 2


def test_polygons_of_yolo_are_masks(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "d", train=2, val=1)
    for file in (root / "labels").rglob("*.txt"):
        file.write_text("1 0.25 0.25 0.75 0.25 0.5 0.75\n")
    folder = BoxFolder(str(root), targets="masks")
    (item,) = folder.records("val").images[0].objects
    assert item.name == "dot" and item.box == (24, 16, 72, 48)
    assert item.mask == [[24, 16, 72, 16, 48, 48]]


def test_trainval_stands_for_train(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "d")
    lists = root / "ImageSets/Main"
    (lists / "train.txt").rename(lists / "trainval.txt")
    (lists / "val.txt").rename(lists / "test.txt")
    folder = BoxFolder(str(root))
    assert len(folder.records("test").images) == 2
    assert len(folder.records("train").images) + len(folder.records("val").images) == 4


def test_names_of_a_list_may_hold_blanks_and_be_followed_by_a_flag(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "d")
    for folder, ending in (("Annotations", ".xml"), ("JPEGImages", None)):
        for file in sorted((root / folder).iterdir()):
            file.rename(file.with_name("cell " + file.stem + (ending or file.suffix)))
    whole: dict[str, int] = {}
    lists = root / "ImageSets/Main"
    for split, end in (("train", ""), ("val", "  1")):
        names = (lists / f"{split}.txt").read_text().split()
        whole[split] = len(names)
        (lists / f"{split}.txt").write_text("".join(f"cell {name}{end}\n" for name in names))
    folder = BoxFolder(str(root))
    assert {split: len(folder.records(split).images) for split in whole} == whole


# --- classes -------------------------------------------------------------------------------------


def test_classes_are_mapped_by_name_whatever_the_ids(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "d")
    file = root / "annotations/instances_val2017.json"
    content = json.loads(file.read_text())
    new = {"cell": 1, "rod": 2, "dot": 3}
    old = {c["id"]: c["name"] for c in content["categories"]}
    content["categories"] = [{"id": i, "name": n} for n, i in new.items()]
    for item in content["annotations"]:
        item["category_id"] = new[old[item["category_id"]]]
    file.write_text(json.dumps(content))
    folder = BoxFolder(str(root))
    assert folder.classes().names == ("dot", "cell", "rod")  # the order of the training file
    assert plain(folder.records("val")) == expected(range(4, 6))


def test_unknown_classes_are_refused_with_the_nearest_name(tmp_path: Path) -> None:
    classes = BoxFolder(str(write_coco(tmp_path / "d"))).classes()
    assert classes.select(["rod", "cell"]).names == ("rod", "cell")
    with pytest.raises(ConfigError, match=r"'Cell' is no class .* Did you mean 'cell'\?"):
        classes.select(["Cell"])
    with pytest.raises(ConfigError, match="each of them once"):
        classes.select(["cell", "cell"])


def test_things_come_before_stuff(tmp_path: Path) -> None:
    folder = BoxFolder(str(write_panoptic(tmp_path / "d")), targets="panoptic")
    classes = folder.classes()
    assert classes.names == ("dot", "cell", "rod", "ground")
    assert classes.things == ("dot", "cell", "rod")
    image = folder.records("val").images[0]
    assert image.map_path == str(tmp_path / "d/annotations/panoptic_val/003.png")
    assert [o.segment for o in image.objects] == [1, 300, 301, 302]
    with pytest.raises(ConfigError, match="name the things"):
        classes.select(["ground", "cell"])
    # The boxes of its things serve a detector.
    boxes = BoxFolder(str(tmp_path / "d")).records("val").images[0]
    assert ("cell", 10, 8, 34, 32) in [(o.name, *o.box) for o in boxes.objects]


def test_classes_file_of_voc_gives_the_order(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "d")
    (root / "classes.txt").write_text("rod\ncell\ndot\nunused\n")
    assert BoxFolder(str(root)).classes().names == ("rod", "cell", "dot", "unused")
    (root / "classes.txt").write_text("rod\ncel\ndot\n")
    with pytest.raises(DataError, match=r"'cell'.*Did you mean 'cel'\?"):
        BoxFolder(str(root)).classes()


# --- real data -----------------------------------------------------------------------------------


def test_blood_cells(shared_data: Path) -> None:
    folder = BoxFolder(str(shared_data / "bccd"))
    assert folder.classes().names == ("Platelets", "RBC", "WBC")
    records = {split: folder.records(split) for split in ("train", "val")}
    assert [len(part.images) for part in records.values()] == [205, 87]
    left_out = [str(f.places[0]) for part in records.values() for f in part.findings]
    assert ["BloodImage_00343.xml" in left_out[0], "BloodImage_00338.xml" in left_out[1]] == [1, 1]


def test_coco_and_nuclei(shared_data: Path) -> None:
    masks = BoxFolder(str(shared_data / "coco100"), targets="masks")
    images = masks.records("all").images
    assert (len(images), sum(len(i.objects) for i in images)) == (100, 746)
    assert any(o.crowd for i in images for o in i.objects)
    panoptic = BoxFolder(str(shared_data / "coco100"), targets="panoptic")
    assert len(panoptic.classes().names) == 133 and len(panoptic.classes().things or ()) == 80
    nuclei = BoxFolder(str(shared_data / "nuclei"), targets="masks")
    assert [len(nuclei.records(s).images) for s in ("train", "val")] == [240, 60]


def test_pixels_of_voc_count_from_0_unless_it_is_said(tmp_path: Path) -> None:
    """In the challenge's files a box of the whole image is 1, 1, width, height."""
    write_image(tmp_path / "d/a.png", [], size=(40, 60))
    size = "<size><width>60</width><height>40</height></size>"
    write_voc_file(tmp_path / "d/a.xml", [("rod", 1, 1, 60, 40)], size)
    write_image(tmp_path / "d/b.png", [], seed=1, size=(40, 60))
    write_voc_file(tmp_path / "d/b.xml", [("rod", 5, 6, 20, 30)], size)
    root = str(tmp_path / "d")
    plainly = BoxFolder(root).records("all")
    assert [i.objects[0].box for i in plainly.images] == [(1, 1, 60, 40), (5, 6, 20, 30)]
    assert "set data.voc_offset=1" in plainly.notes[0]
    records = BoxFolder(root, voc_offset=1).records("all")
    assert [i.objects[0].box for i in records.images] == [(0, 0, 60, 40), (4, 5, 20, 30)]
    assert not records.notes

    write_voc_file(tmp_path / "d/b.xml", [("rod", 0, 6, 20, 30)], size)
    assert not BoxFolder(root).records("all").notes
    with pytest.raises(DataError, match=r"before 1.*b.xml .object 1, rod, at 0.*voc_offset=0"):
        BoxFolder(root, voc_offset=1).records("all")
    records = BoxFolder(root, voc_offset=1, bad_objects="skip").records("all")
    assert [len(image.objects) for image in records.images] == [1, 0]
    assert [f.check for f in records.findings] == ["below-offset"]
    with pytest.raises(ConfigError, match="give 0 or 1"):
        BoxFolder(root, voc_offset=2)
    coco = write_coco(tmp_path / "coco")
    with pytest.raises(ConfigError, match="holds COCO JSON, whose boxes begin at 0"):
        BoxFolder(str(coco), voc_offset=1)


def test_letter_case_of_yolo_s_names_does_not_matter(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, yaml=False)
    (root / "labels").rename(root / "Labels")
    for file in sorted((root / "Labels/train").iterdir()):
        file.rename(file.with_suffix(".TXT"))
    folder = BoxFolder(str(root))
    assert sum(len(image.objects) for image in folder.records("train").images) > 0
    assert folder.layout.form == "yolo"


def test_a_list_of_classes_in_another_language_is_pointed_to(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "d", yaml=False)
    (root / "classes.txt").rename(root / "Klassen.txt")
    (note,) = [n for n in BoxFolder(str(root)).layout.notes if "Klassen" in n]
    assert "the classes have no names" in note and "data.classes_file=Klassen.txt" in note
    given = BoxFolder(str(root), classes_file="Klassen.txt")
    assert not [n for n in given.layout.notes if "Klassen" in n]
    assert given.classes().names == NAMES
    for name in ("OBJ.names", "Labels.csv", "_darknet.labels"):  # the same files as beside masks
        (root / "Klassen.txt").rename(root / name)
        assert BoxFolder(str(root)).classes().names == NAMES, name
        (root / name).rename(root / "Klassen.txt")


def test_a_folder_that_could_be_the_split_is_pointed_to(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "d", yaml=False)
    for folder in ("images", "labels"):
        (root / folder / "val").rename(root / folder / "Validierung")
    (note,) = [n for n in BoxFolder(str(root)).layout.notes if "Validierung" in n]
    assert note.startswith("not used: labels/Validierung, which is of no split; if it is one, call")
    assert note.endswith("call it val")


def test_one_misspelt_class_among_many_is_noticed(tmp_path: Path) -> None:
    for index in range(30):
        write_image(tmp_path / f"d/{index}.png", [], seed=index)
        objects = [
            (name, 4 + shift, 8, 28 + shift, 32) for name in ("cell", "rod") for shift in (0, 9)
        ]
        if index == 17:
            objects[0] = ("cel", *objects[0][1:])
        write_voc_file(tmp_path / f"d/{index}.xml", objects)
    folder = BoxFolder(str(tmp_path / "d"))
    found = class_findings(folder.records("all"), folder.classes())
    (slip,) = [finding for finding in found if finding.check == "misspelt-class"]
    assert str(slip).startswith("1 object is called 'cel' and 59 'cell': are these one class? (1):")
    assert "17.xml (object 1, cel)" in str(slip)
    right = class_findings(
        BoxFolder(str(write_coco(tmp_path / "c"))).records("train"), folder.classes()
    )
    assert "misspelt-class" not in {finding.check for finding in right}
