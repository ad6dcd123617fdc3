"""What annotation files have is counted against what a dataset uses, for every reader of boxes."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mmattn.errors import DataError
from mmattn.preflight.data import DatasetReport, check_dataset

WHERE = "train_dataloader.dataset"
PIPELINE = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations", "with_bbox": True}]
#: x1, y1, x2, y2 in images of 64 x 96 (height x width): all over the image, as objects are.
BOXES = [(10, 8, 30, 28), (50, 20, 90, 60), (4, 30, 44, 50), (60, 4, 80, 24)]


@pytest.fixture(autouse=True)
def scope() -> None:
    init_default_scope("mmdet")


def write_images(root: Path, folder: str, count: int = 3) -> list[str]:
    (root / folder).mkdir(parents=True)
    names = [f"{index:03d}" for index in range(count)]
    for name in names:
        cv2.imwrite(str(root / folder / f"{name}.jpg"), np.zeros((64, 96, 3), np.uint8))
    return names


def voc(root: Path, classes: tuple, named: str = "kangaroo", boxes=BOXES, **changes) -> dict:
    names = write_images(root, "JPEGImages")
    (root / "Annotations").mkdir()
    first, _, rest = named.partition("|")  # "a|b": the first object of each image is an a
    rest = rest or first
    for name in names:
        objects = "".join(
            f"<object><name>{first if i == 0 else rest}</name><bndbox><xmin>{b[0]}</xmin>"
            f"<ymin>{b[1]}</ymin><xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox></object>"
            for i, b in enumerate(boxes)
        )
        size = "<size><width>96</width><height>64</height><depth>3</depth></size>"
        text = f"<annotation>{size}{objects}</annotation>"
        (root / "Annotations" / f"{name}.xml").write_text(text)
    (root / "train.txt").write_text("\n".join(names))
    return {
        "type": "XMLDataset", "data_root": str(root), "ann_file": "train.txt",
        "data_prefix": {"sub_data_root": ""}, "metainfo": {"classes": classes},
        "pipeline": PIPELINE, **changes,
    }  # fmt: skip


def wider(root: Path, classes: tuple, named: str = "kangaroo", boxes=BOXES, **changes) -> dict:
    cfg = voc(root, classes, named, boxes)
    for file in (root / "Annotations").iterdir():
        text = file.read_text()
        file.write_text(text.replace("<size>", "<folder>JPEGImages</folder><size>"))
    return {**cfg, "type": "WIDERFaceDataset", "data_prefix": {"img": ""}, **changes}


def coco_content(names: list[str], named: str = "kangaroo", boxes=BOXES) -> dict:
    corners = [(x1, y1, x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes]
    annotations = [
        {"image_id": image, "category_id": 5, "bbox": list(box), "area": box[2] * box[3],
         "iscrowd": 0}
        for image in range(len(names)) for box in corners
    ]  # fmt: skip
    return {
        "images": [
            {"id": i, "file_name": f"{name}.jpg", "height": 64, "width": 96}
            for i, name in enumerate(names)
        ],
        "categories": [{"id": 5, "name": named}],
        "annotations": [{"id": i, **a} for i, a in enumerate(annotations, 1)],
    }


def coco(
    root: Path, classes: tuple, named: str = "kangaroo", boxes=BOXES,
    change: Callable[[dict], object] = lambda content: None, **changes,
) -> dict:  # fmt: skip
    content = coco_content(write_images(root, "images"), named, boxes)
    change(content)
    (root / "train.json").write_text(json.dumps(content))
    return {
        "type": "CocoDataset", "data_root": str(root), "ann_file": "train.json",
        "data_prefix": {"img": "images/"}, "metainfo": {"classes": classes},
        "pipeline": PIPELINE, **changes,
    }  # fmt: skip


def crowdhuman(root: Path, classes: tuple, named: str = "kangaroo", boxes=BOXES) -> dict:
    names = write_images(root, "images")
    lines = []
    for name in names:
        stored = [[x, y, a - x, b - y] for x, y, a, b in boxes]
        boxed = [{"tag": named, "fbox": box, "hbox": box, "vbox": box} for box in stored]
        lines.append(json.dumps({"ID": name, "gtboxes": boxed}))
    (root / "train.odgt").write_text("\n".join(lines))
    return {
        "type": "CrowdHumanDataset", "data_root": str(root), "ann_file": "train.odgt",
        "data_prefix": {"img": "images/"}, "metainfo": {"classes": classes}, "pipeline": PIPELINE,
    }  # fmt: skip


def plain(root: Path, classes: tuple, named: str = "kangaroo", boxes=BOXES) -> dict:
    """mmengine's own format, of labels without names."""
    instances = [{"bbox": list(box), "bbox_label": 0, "ignore_flag": 0} for box in boxes]
    data = [
        {"img_path": f"{name}.jpg", "img_id": i, "height": 64, "width": 96, "instances": instances}
        for i, name in enumerate(write_images(root, "images"))
    ]
    (root / "train.json").write_text(json.dumps({"metainfo": {}, "data_list": data}))
    return {
        "type": "BaseDetDataset", "data_root": str(root), "ann_file": "train.json",
        "data_prefix": {"img_path": "images/"}, "metainfo": {"classes": classes},
        "pipeline": PIPELINE,
    }  # fmt: skip


NAMED = [voc, wider, coco, crowdhuman]
READERS = [*NAMED, plain]


def refusal(cfg: dict) -> str:
    with pytest.raises(DataError) as caught:
        check_dataset(cfg, WHERE)
    assert "\n" not in str(caught.value) or cfg["type"] == "CocoDataset"
    return re.sub(r"\s+", " ", str(caught.value))


# --- class names ---------------------------------------------------------------------------------


@pytest.mark.parametrize("make", READERS)
def test_sound_annotations_pass_without_a_word(make: Callable, tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING, "mmattn"):
        report = check_dataset(make(tmp_path, ("kangaroo",)), WHERE)
    assert report.counts == {"kangaroo": 12} and report.warnings == ()
    assert not caplog.records


@pytest.mark.parametrize("wrong", ["Kangaroo", "kangoroo", "kangaroos", "kan_garoo"])
@pytest.mark.parametrize("make", NAMED)
def test_a_misspelt_class_is_refused_by_every_reader(make: Callable, wrong: str, tmp_path) -> None:
    text = refusal(make(tmp_path, (wrong,)))
    assert "0 of 12 objects are of a class of metainfo.classes" in text
    assert "the annotations name kangaroo (12)" in text
    assert "Did you mean 'kangaroo'?" in text


@pytest.mark.parametrize("make", NAMED)
def test_classes_of_other_data_are_refused(make: Callable, tmp_path: Path) -> None:
    """Without a near name, as when metainfo was forgotten and a dataset's own classes count."""
    text = refusal(make(tmp_path, ("zebra", "horse")))
    assert "0 of 12 objects" in text and "kangaroo (12)" in text


@pytest.mark.parametrize("filter_cfg", [None, {"filter_empty_gt": True, "min_size": 8}])
def test_a_filter_that_leaves_no_image_does_not_hide_the_reason(tmp_path: Path, filter_cfg) -> None:
    assert "Did you mean" in refusal(voc(tmp_path, ("Kangaroo",), filter_cfg=filter_cfg))


def two_names(root: Path, classes: tuple) -> dict:
    cfg = voc(root, classes)
    for file in (root / "Annotations").iterdir():
        file.write_text(file.read_text().replace("kangaroo", "Platelets", 1))
    return cfg


def test_one_class_of_several_that_is_misspelt(tmp_path: Path) -> None:
    text = refusal(two_names(tmp_path, ("kangaroo", "Platelet")))
    assert "no object is of the class 'Platelet'" in text and "3 of 12 objects" in text
    assert "Platelets (3). Did you mean 'Platelets'?" in text


def test_the_last_class_of_a_coco_file_misspelt(tmp_path: Path) -> None:
    """The labels of the others are right then, so that nothing is shifted."""

    def add(content: dict) -> None:
        content["categories"].append({"id": 9, "name": "wallaby"})
        content["annotations"][0]["category_id"] = 9

    text = refusal(coco(tmp_path, ("kangaroo", "walaby"), change=add))
    assert "'wallaby'" in text and "'walaby'" in text


@pytest.mark.parametrize("make", NAMED)
def test_a_class_without_an_object_is_a_warning(make: Callable, tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING, "mmattn"):
        report = check_dataset(make(tmp_path, ("kangaroo", "zebra")), WHERE)
    assert "1 class has no object: 'zebra'" in report.warnings[0]
    assert f"{WHERE}: 1 class has no object: 'zebra'" in caplog.text
    assert "warning: 1 class has no object" in report.table()


def test_a_name_that_the_config_lacks_is_a_warning(tmp_path: Path) -> None:
    (warning,) = check_dataset(two_names(tmp_path, ("kangaroo",)), WHERE).warnings
    assert "3 of 12 objects are not used" in warning and "Platelets (3)" in warning


def test_another_class_of_a_like_name_is_not_taken_for_a_slip(tmp_path: Path) -> None:
    report = check_dataset(voc(tmp_path, ("car", "kangaroo"), "cat|kangaroo"), WHERE)
    assert len(report.warnings) == 2


# --- boxes ---------------------------------------------------------------------------------------


def as_corners(content: dict) -> None:
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        annotation["bbox"] = [x, y, x + width, y + height]


def test_coco_boxes_stored_as_corners_are_refused(tmp_path: Path) -> None:
    text = refusal(coco(tmp_path, ("kangaroo",), change=as_corners))
    assert "9 of 12 boxes reach beyond their image" in text
    assert "[x, y, width, height] in pixels is expected" in text and "[x1, y1, x2, y2]" in text


def test_corners_of_objects_on_the_left_are_noticed_too(tmp_path: Path) -> None:
    """Most of them do not reach beyond the image."""
    boxes = [(1, 1, 20, 20), (5, 2, 30, 30), (3, 10, 40, 30), (40, 30, 90, 60)]
    text = refusal(coco(tmp_path, ("kangaroo",), boxes=boxes, change=as_corners))
    assert "3 of 12 boxes" in text and "would fit as [x1, y1, x2, y2]" in text


def test_voc_boxes_stored_with_width_and_height_are_refused(tmp_path: Path) -> None:
    boxes = [(x, y, a - x, b - y) for x, y, a, b in BOXES]
    text = refusal(voc(tmp_path, ("kangaroo",), boxes=boxes))
    assert "boxes end before they begin" in text and "000.xml" in text
    assert "[xmin, ymin, xmax, ymax] in pixels is expected" in text


@pytest.mark.parametrize("make", READERS)
def test_boxes_as_shares_of_the_image_are_refused(make: Callable, tmp_path: Path) -> None:
    boxes = [(x / 96, y / 64, a / 96, b / 64) for x, y, a, b in BOXES]
    text = refusal(make(tmp_path, ("kangaroo",), boxes=boxes))
    assert "12 annotations, 12 of them not usable, such as [" in text
    assert "multiply by width and height" in text


def test_boxes_of_larger_images_are_refused(tmp_path: Path) -> None:
    """The images were made smaller, their annotations were not."""
    boxes = [tuple(4 * v for v in box) for box in BOXES]
    text = refusal(voc(tmp_path, ("kangaroo",), boxes=boxes))
    assert "boxes reach beyond their image" in text and "(96 x 64, width x height)" in text


def test_boxes_without_an_area_are_counted(tmp_path: Path) -> None:
    boxes = [(x, y, x, b) for x, y, _, b in BOXES]
    assert "12 annotations, none usable" in refusal(voc(tmp_path, ("kangaroo",), boxes=boxes))


@pytest.mark.parametrize("make", READERS)
def test_single_bad_boxes_are_a_warning(make: Callable, tmp_path: Path) -> None:
    boxes = [*BOXES, (10, 10, 10, 20)]
    (warning,) = check_dataset(make(tmp_path, ("kangaroo",), boxes=boxes), WHERE).warnings
    assert "3 of 15 boxes are not usable" in warning and "such as [10" in warning


def test_a_box_at_the_edge_and_one_over_it_by_rounding_pass(tmp_path: Path) -> None:
    boxes = [*BOXES, (0, 0, 97, 65), (90, 60, 96, 64)]
    assert check_dataset(coco(tmp_path, ("kangaroo",), boxes=boxes), WHERE).warnings == ()


def test_a_box_that_is_not_of_numbers(tmp_path: Path) -> None:
    cfg = voc(tmp_path, ("kangaroo",))
    file = tmp_path / "Annotations/001.xml"
    file.write_text(file.read_text().replace("<xmin>50</xmin>", "<xmin>left</xmin>"))
    text = refusal(cfg)
    assert "001.xml" in text and "left" in text


def test_a_label_beyond_the_classes(tmp_path: Path) -> None:
    cfg = plain(tmp_path, ("kangaroo",))
    file = tmp_path / "train.json"
    file.write_text(file.read_text().replace('"bbox_label": 0', '"bbox_label": 1'))
    assert "the label 1 of an object in" in refusal(cfg)


def test_a_broken_xml_file_is_named(tmp_path: Path) -> None:
    cfg = voc(tmp_path, ("kangaroo",))
    (tmp_path / "Annotations/002.xml").write_text("<annotation><object>")
    assert "002.xml" in refusal(cfg)


# --- ids and names of a COCO file ----------------------------------------------------------------


def every_second(key: str, value) -> Callable[[dict], None]:
    def change(content: dict) -> None:
        for annotation in content["annotations"][::2]:
            annotation[key] = value if not callable(value) else value(annotation[key])

    return change


def set_name(value) -> Callable[[dict], None]:
    return lambda content: content["categories"][0].update(name=value)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (every_second("image_id", 777), ("6 of 12 annotations", "image_id", "777")),
        (every_second("image_id", str), ("'0' is no id of an image while 0 is", "6 of 12")),
        (every_second("image_id", None), ("6 of 12 annotations", "None")),
        (every_second("image_id", [1]), ("6 of 12 annotations", "[1]")),
        (every_second("category_id", 8), ("6 of 12 annotations", "category_id", "8")),
        (every_second("category_id", str), ("'5' is no id of a category while 5 is",)),
        (set_name(5), ("categories[0]", "is 5, not a text")),
        (set_name(["a"]), ("categories[0]", "['a'], not a text")),
        (set_name({"en": "a"}), ("categories[0]", "not a text")),
        (set_name(None), ("categories[0]", "None, not a text")),
        (every_second("bbox", [1, 2, 3]), ("[1, 2, 3], not the four numbers",)),
        (every_second("bbox", ["1", "2", "3", "4"]), ("not the four numbers",)),
        (every_second("bbox", [1, 2, float("nan"), 4]), ("not the four numbers",)),
        (lambda c: c["images"].append("x.jpg"), ("images[3] is 'x.jpg'",)),
        (lambda c: c["images"][1].update(id=[3]), ("images[1] is [3], not a number",)),
        (lambda c: c.update(annotations=[]), ("no object is left", "nothing to learn")),
    ],
)  # fmt: skip
def test_what_does_not_refer_to_the_file_is_told_with_number_and_first(
    change: Callable, parts: tuple, tmp_path: Path
) -> None:
    text = refusal(coco(tmp_path, ("kangaroo",), change=change))
    for part in parts:
        assert part in text


# --- LVIS: its reader is another package's -------------------------------------------------------


def test_lvis_is_read_by_the_same_rules(tmp_path: Path, monkeypatch) -> None:
    import sys
    from types import ModuleType

    from pycocotools.coco import COCO

    class LVIS(COCO):
        get_cat_ids, get_img_ids, get_ann_ids = COCO.getCatIds, COCO.getImgIds, None
        load_imgs, load_anns = COCO.loadImgs, COCO.loadAnns

        def __init__(self, path: str) -> None:
            super().__init__(path)
            self.cat_img_map = self.catToImgs
            self.get_ann_ids = lambda img_ids: self.getAnnIds(imgIds=img_ids)

    package = ModuleType("lvis")
    package.LVIS = LVIS
    monkeypatch.setitem(sys.modules, "lvis", package)

    def change(content: dict) -> None:
        for image in content["images"]:
            image["coco_url"] = "http://images.cocodataset.org/" + image["file_name"]

    def both(content: dict) -> None:
        change(content)
        as_corners(content)

    cfg = coco(tmp_path / "a", ("kangaroo",), change=change, type="LVISV1Dataset")
    report: DatasetReport = check_dataset(cfg, WHERE)
    assert report.counts == {"kangaroo": 12}
    assert "Did you mean" in refusal({**cfg, "metainfo": {"classes": ("Kangaroo",)}})
    cfg = coco(tmp_path / "b", ("kangaroo",), change=both, type="LVISV1Dataset")
    assert "boxes reach beyond" in refusal(cfg)
