"""Lists of classes as text and tables: what they say, for masks and for boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmattn.boxes import BoxFolder
from mmattn.data.datasets.folder import FolderSegDataset
from mmattn.data.folder import read_classes
from mmattn.data.folder.class_list import find_class_list, read_class_list
from mmattn.errors import DataError
from tests.support.box_folders import NAMES, write_coco, write_voc, write_yolo


def written(folder: Path, name: str, text: str) -> str:
    file = folder / name
    file.write_text(text, "utf-8")
    return str(file)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.txt", "road\ncar\n\ntree\n"),
        ("c.txt", "\ufeffroad\r\ncar\r\ntree"),
        ("c.csv", "road\ncar\ntree\n"),
        ("c.csv", "name\nroad\ncar\ntree\n"),
        ("c.csv", "class_name,count_of_images\nroad,many\ncar,few\ntree,none\n"),
    ],
)
def test_names_alone_count_by_position(name: str, text: str, tmp_path: Path) -> None:
    listed = read_class_list(written(tmp_path, name, text))
    assert listed.names == ("road", "car", "tree")
    assert listed.values is None and listed.colours is None
    classes = read_classes(listed.path)
    assert classes.values == {0: 0, 1: 1, 2: 2} and classes.by_position


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.csv", "id,name\n0,road\n7,car\n200,tree\n"),
        ("c.csv", "name;label_id\nroad;0\ncar;7\ntree;200\n"),
        ("c.csv", "0,road\n7,car\n200,tree\n"),
        ("c.tsv", "road\t0\ncar\t7\ntree\t200\n"),
        ("c.csv", "label,name,images\n0,road,12\n7,car,8\n200,tree,9\n"),
        ("c.txt", "0 road\n7 car\n200 tree\n"),
        ("c.txt", "0: road\n7: car\n200: tree\n"),
        ("c.txt", "road,0\ncar,7\ntree,200\n"),
    ],
)
def test_values_stand_before_or_behind_the_names(name: str, text: str, tmp_path: Path) -> None:
    classes = read_classes(written(tmp_path, name, text))
    assert classes.names == ("road", "car", "tree")
    assert classes.values == {0: 0, 7: 1, 200: 2} and not classes.by_position


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("class_dict.csv", "name,r,g,b\nroad,128,64,128\ncar,0,0,142\n"),
        ("c.csv", "Red;Green;Blue;Class\n128;64;128;road\n0;0;142;car\n"),
        ("c.csv", "road,128,64,128\ncar,0,0,142\n"),
        ("label_colors.txt", "128 64 128\troad\n0 0 142\tcar\n"),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nroad:128,64,128::\ncar:0,0,142::\n"),
    ],
)
def test_colours_are_read(name: str, text: str, tmp_path: Path) -> None:
    classes = read_classes(written(tmp_path, name, text))
    assert classes.names == ("road", "car")
    assert classes.colours == {(128, 64, 128): 0, (0, 0, 142): 1}
    assert "red, green, blue" in classes.source


def test_values_and_colours_of_one_table_agree(tmp_path: Path) -> None:
    text = "id,name,r,g,b\n9,car,0,0,142\n3,Ignore,0,0,0\n1,road,128,64,128\n"
    classes = read_classes(written(tmp_path, "c.csv", text))
    assert classes.names == ("car", "road")
    assert classes.values == {9: 0, 3: 255, 1: 1}
    assert classes.colours == {(0, 0, 142): 0, (0, 0, 0): 255, (128, 64, 128): 1}
    assert classes.palette == [(0, 0, 142), (128, 64, 128)]


def test_names_that_begin_with_a_number_stay_names(tmp_path: Path) -> None:
    names = ("1 euro", "2 euro", "50 cent")
    assert read_class_list(written(tmp_path, "c.txt", "\n".join(names))).names == names


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.txt", "\n", "is empty"),
        ("c.csv", "id,name\n", "titles and no row"),
        ("c.csv", "id,name\n0,road\n1\n", "row 3 has 1 columns, the first has 2"),
        ("c.csv", "road,grey\ncar,blue\n", "which column has the names"),
        ("c.csv", "road,1,2\ncar,3,4\n", "2 columns of numbers have no titles"),
        ("c.csv", "name,r,g,b\nroad,1,2,300\n", "is no colour"),
        ("c.csv", "id,name\n1,road\n1,car\n", "have the value 1"),
    ],
)
def test_what_is_no_list_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_classes(written(tmp_path, name, text))


def test_a_table_of_images_is_passed_over_with_a_note(tmp_path: Path) -> None:
    written(tmp_path, "labels.csv", "image,label\na.png,cat\nb.png,dog\nc.png,cat\n")
    found, notes = find_class_list(str(tmp_path), ["labels.csv"])
    assert found is None and "labels.csv is not read for the classes" in notes[0]
    written(tmp_path, "classes.csv", "name\ncat\ndog\n")
    found, notes = find_class_list(str(tmp_path), ["labels.csv", "classes.csv"])
    assert found == str(tmp_path / "classes.csv") and "classes.csv is; " in notes[0]


def test_masks_take_the_list_beside_them(tmp_path: Path) -> None:
    for number in range(3):
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(np.full((8, 8), number, np.uint8)).save(
                tmp_path / f"{folder}/{number}.png"
            )
    written(tmp_path, "labels.csv", "id,name\n0,sky\n1,road\n2,car\n")
    dataset = FolderSegDataset(str(tmp_path), "all", pipeline=[])
    assert dataset.metainfo["classes"] == ("sky", "road", "car")
    assert any("labels.csv (name, id)" in note for note in dataset.notes)
    written(tmp_path, "mine.txt", "a\nb\nc\n")
    chosen = FolderSegDataset(str(tmp_path), "all", classes_file="mine.txt", pipeline=[])
    assert chosen.metainfo["classes"] == ("a", "b", "c")


def test_one_name_alone_does_not_stop_masks(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        halves = np.zeros((8, 8), np.uint8)
        halves[4:] = 255
        Image.fromarray(halves).save(tmp_path / folder / "a.png")
    written(tmp_path, "classes.txt", "tumour\n")
    dataset = FolderSegDataset(str(tmp_path), "all", pipeline=[])
    assert dataset.metainfo["classes"] == ("background", "foreground")
    assert any("it names 'tumour' alone" in note for note in dataset.notes)


@pytest.mark.parametrize("listed", ["table", "numbers", "json"])
def test_yolo_numbers_are_named_by_the_list(listed: str, tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "d", yaml=False)
    (root / "classes.txt").unlink()
    rows = "".join(f"{i},{name}\n" for i, name in reversed(list(enumerate(NAMES))))
    if listed == "table":
        written(root, "labels.csv", f"id,name\n{rows}")
        folder = BoxFolder(str(root))
    elif listed == "numbers":
        written(root, "mine.txt", rows.replace(",", " "))
        folder = BoxFolder(str(root), classes_file="mine.txt")
    else:
        written(root, "classes.json", str(list(NAMES)).replace("'", '"'))
        folder = BoxFolder(str(root), classes_file="classes.json")
    assert folder.classes().names == tuple(NAMES)


def test_the_list_of_data_yaml_can_be_replaced(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "d")
    written(root, "mine.txt", "a\nb\nc\n")
    assert BoxFolder(str(root), classes_file="mine.txt").classes().names == ("a", "b", "c")
    file = BoxFolder(str(root / "data.yaml"), classes_file="mine.txt")
    assert file.classes().names == ("a", "b", "c")
    written(root, "mine.txt", "1 a\n2 b\n3 c\n")
    with pytest.raises(DataError, match=r"numbers .1, 2, 3., where 0 to 2"):
        BoxFolder(str(root), classes_file="mine.txt")


@pytest.mark.parametrize("write", [write_coco, write_voc])
def test_the_list_orders_what_the_boxes_are_called(write, tmp_path: Path) -> None:
    root = write(tmp_path / "d")
    order = (*sorted(NAMES, reverse=True), "unused")
    written(root, "mine.csv", "name\n" + "\n".join(order))
    found = BoxFolder(str(root), classes_file="mine.csv").classes()
    assert found.names == order and found.source.endswith("mine.csv")
    written(root, "mine.csv", "name\nother\n")
    with pytest.raises(DataError, match="which the file of names does not have"):
        BoxFolder(str(root), classes_file="mine.csv").classes()
