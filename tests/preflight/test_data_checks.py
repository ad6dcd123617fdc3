"""What bad data gets: a typed error that names file, value and fix, before any training.

Each case breaks a copy of a small, sound dataset in one way and states what the message must say.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope
from PIL import Image

from mmattn.config.walk import leaf_datasets
from mmattn.data.shapes import CLASSES, THING_CLASSES
from mmattn.errors import ConfigError, DataError, MMAttnError
from mmattn.preflight.data import check_dataset
from mmattn.preflight.metrics import check_metric_file

WHERE = "train_dataloader.dataset"
LOAD_MASKS = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}]


def semantic(root: Path, **changes) -> dict:
    prefix = {"img_path": "images/train", "seg_map_path": "annotations/train"}
    cfg = {"type": "mmattn.ShapesDataset", "data_root": str(root), "data_prefix": prefix}
    return {**cfg, "pipeline": LOAD_MASKS, **changes}


def binary(root: Path, **changes) -> dict:
    return semantic(
        root, type="mmseg.BaseSegDataset", metainfo={"classes": ("rest", "thing")}, **changes
    )


def coco(root: Path, **changes) -> dict:
    load = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations", "with_mask": True}]
    return {
        "type": "mmdet.CocoDataset",
        "data_root": str(root),
        "ann_file": "annotations/instances_train.json",
        "data_prefix": {"img": "images/train/"},
        "metainfo": {"classes": THING_CLASSES},
        "filter_cfg": {"filter_empty_gt": True, "min_size": 32},
        "pipeline": load,
        **changes,
    }


def panoptic(root: Path, **changes) -> dict:
    return coco(
        root,
        type="mmdet.CocoPanopticDataset",
        ann_file="annotations/panoptic_train.json",
        data_prefix={"img": "images/train/", "seg": "annotations/panoptic_train/"},
        metainfo={"classes": CLASSES},
        pipeline=[{"type": "LoadImageFromFile"}, {"type": "LoadPanopticAnnotations"}],
        **changes,
    )


@pytest.fixture
def root(shapes_root: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(shapes_root, tmp_path / "set"))


def mask_path(root: Path, index: int = 2) -> Path:
    return root / f"annotations/train/{index:06d}.png"


def change_mask(root: Path, change: Callable[[np.ndarray], np.ndarray], index: int = 2) -> None:
    path = str(mask_path(root, index))
    cv2.imwrite(path, change(cv2.imread(path, cv2.IMREAD_UNCHANGED)))


def change_all_masks(root: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    for index in range(8):
        change_mask(root, change, index)


def put(mask: np.ndarray, value: int, dtype=np.uint8) -> np.ndarray:
    mask = mask.astype(dtype)
    mask[:4, :4] = value
    return mask


def change_json(root: Path, change: Callable[[dict], None], kind: str = "instances") -> None:
    path = root / f"annotations/{kind}_train.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def refusal(cfg: dict) -> MMAttnError:
    """The error that checking the dataset raises."""
    init_default_scope("mmseg")
    with pytest.raises(MMAttnError) as caught:
        for where, leaf in leaf_datasets(cfg, WHERE):
            check_dataset(leaf, where)
    return caught.value


# --- sound data passes ---------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "unit"), [(semantic, "pixels"), (coco, "instances")])
def test_sound_data_passes_and_is_counted(shapes_root: Path, make: Callable, unit: str):
    report = check_dataset(make(shapes_root), WHERE)
    assert (report.entries, report.unit) == (8, unit)
    assert sum(report.counts.values()) == (
        8 * 96 * 128 if unit == "pixels" else _boxes(shapes_root)
    )
    assert all(name in report.table() for name in report.counts)


def _boxes(root: Path) -> int:
    content = json.loads((root / "annotations/instances_train.json").read_text())
    return len(content["annotations"])


def test_sound_panoptic_data_passes(shapes_root: Path):
    report = check_dataset(panoptic(shapes_root), WHERE)
    assert report.looked_at == {"headers": 8, "panoptic maps": 8}


def test_a_subset_of_the_classes_in_the_file_s_order_passes(shapes_root: Path):
    cfg = coco(shapes_root, metainfo={"classes": ("square", "ring")})
    assert set(check_dataset(cfg, WHERE).counts) == {"square", "ring"}


def test_label_maps_and_reduced_zero_labels_are_applied(root: Path):
    """Values are judged as training will see them: mapped to 255, or one less."""
    subset = {"classes": ("sand", "grass")}
    assert check_dataset(semantic(root, metainfo=subset), WHERE).counts["grass"] > 0
    change_all_masks(root, lambda mask: mask + 1)
    assert "10" in str(refusal(semantic(root)))
    report = check_dataset(semantic(root, reduce_zero_label=True), WHERE)
    assert sum(report.counts.values()) == 8 * 96 * 128


def test_palette_masks_are_index_masks(root: Path):
    for index in range(8):
        indexed = Image.fromarray(np.asarray(Image.open(mask_path(root, index))), mode="P")
        indexed.putpalette([200, 10, 10] * 10)
        indexed.save(mask_path(root, index))
    assert sum(check_dataset(semantic(root), WHERE).counts.values()) == 8 * 96 * 128


def test_a_whole_image_with_bytes_after_its_end_passes(root: Path):
    with open(root / "images/train/000001.jpg", "ab") as file:
        file.write(b"made by a camera that signs its files")
    assert check_dataset(semantic(root), WHERE).entries == 8


def test_wrappers_are_looked_into(root: Path):
    mask_path(root).unlink()
    inner = {"type": "ConcatDataset", "datasets": [binary(root), semantic(root)]}
    error = refusal({"type": "RepeatDataset", "times": 2, "dataset": inner})
    assert "train_dataloader.dataset.dataset.datasets[0]" in str(error)


# --- files ---------------------------------------------------------------------------------------


def test_missing_data_root_is_named_with_its_nearest_neighbour(root: Path):
    error = refusal(semantic(root.parent / "sett"))
    assert isinstance(error, DataError)
    assert_says(error, f"{WHERE}.data_root", "sett", "no such folder", "Did you mean 'set'?")


def test_missing_folder(root: Path):
    prefix = {"img_path": "image/train", "seg_map_path": "annotations/train"}
    error = refusal(semantic(root, data_prefix=prefix))
    assert_says(error, f"{WHERE}.data_prefix.img_path", "image/train", "Did you mean 'images'?")


def test_missing_list_file(root: Path):
    assert_says(refusal(semantic(root, ann_file="train.txt")), f"{WHERE}.ann_file", "train.txt")


def test_missing_annotation_file(root: Path):
    error = refusal(coco(root, ann_file="annotations/instance_train.json"))
    assert_says(error, f"{WHERE}.ann_file", "Did you mean 'instances_train.json'")


def test_missing_masks_are_all_counted_and_twenty_are_listed(root: Path):
    names = [f"{index:06d}" for index in range(8)] + [f"lost{index:02d}" for index in range(30)]
    (root / "train.txt").write_text("\n".join(names))
    for name in names[8:]:
        shutil.copy(root / "images/train/000000.jpg", root / f"images/train/{name}.jpg")
    error = refusal(semantic(root, ann_file="train.txt"))
    assert_says(error, "30 of 38 masks do not exist", str(root / "annotations/train/lost00.png"))
    assert_says(error, "... and 10 more", "take their entries out")
    assert str(error).count("/lost") == 20


def test_missing_image_of_an_annotation_file(root: Path):
    (root / "images/train/000004.jpg").unlink()
    assert_says(refusal(coco(root)), "1 of 8 images", str(root / "images/train/000004.jpg"))


@pytest.mark.parametrize(
    ("new_name", "hint"),
    [
        ("000003.PNG", "upper and lower case"),
        ("000003.tif", "the ending differs from '.png'"),
        ("000003_labels.png", "seg_map_suffix"),
    ],
)
def test_the_reason_of_a_missing_file_is_guessed(root: Path, new_name: str, hint: str):
    mask_path(root, 3).rename(root / "annotations/train" / new_name)
    assert_says(refusal(semantic(root)), "000003.png", new_name, hint)


def test_no_image_with_the_suffix(root: Path):
    error = refusal(semantic(root, img_suffix=".png"))
    assert_says(error, "no image is left", ".jpg x 8", "img_suffix='.png'")


# --- images ------------------------------------------------------------------------------------


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damage", "state"),
    [
        (cut_off, "truncated"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("<html>404</html>"), "cannot identify"),
    ],
)
def test_unreadable_images_and_masks_are_named(root: Path, damage: Callable, state: str):
    for path in (root / "images/train/000005.jpg", mask_path(root, 5)):
        before = path.read_bytes()
        damage(path)
        assert_says(refusal(semantic(root)), str(path), state, "Fetch or export it again")
        path.write_bytes(before)


def test_another_size_than_annotated(root: Path):
    change_json(root, lambda content: content["images"][1].update(height=90, width=120))
    error = refusal(coco(root))
    assert_says(error, "000001.jpg", "96 x 128", "90 x 120", "would not fit")


# --- masks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda m: put(m, 10), ("holds 10;", "0 to 9", "reduce_zero_label=True")),
        (lambda m: put(m, 37), ("holds 37;", "Map these values")),
        (lambda m: put(m, 300, np.uint16), ("holds 300;", "wrap around", "8 bits")),
        (lambda m: np.dstack([m * 20, m, m]), ("3 channels", "colours", "indices")),
        (lambda m: m[:90], ("90 x 128", "96 x 128", "nearest neighbour")),
    ],
    ids=["one too many", "any value", "16 bit", "colours", "size"],
)
def test_a_wrong_mask_is_named_with_value_and_fix(root: Path, change: Callable, parts: tuple):
    change_mask(root, change)
    error = refusal(semantic(root))
    assert isinstance(error, DataError)
    assert_says(error, WHERE, str(mask_path(root)), *parts)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda m: np.where(m < 6, 255, 0), ("0 and 255 only", "'thing'", "divide them by 255")),
        (lambda m: np.full_like(m, 255), ("every pixel", "nothing to learn")),
        (lambda m: np.where(m < 6, 128, 0), ("multiples of 128", "stretched for viewing")),
    ],
    ids=["0 and 255", "all ignored", "stretched"],
)
def test_masks_that_train_nothing(root: Path, change: Callable, parts: tuple):
    change_all_masks(root, lambda mask: change(mask).astype(np.uint8))
    assert_says(refusal(binary(root)), "annotations/train", *parts)


# --- COCO ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "parts"),
    [
        # A misspelt name shifts every later class by one: squares would train as 'circel'.
        (
            ("circel", *THING_CLASSES[1:]),
            ("'circel' is no category", "Did you mean 'circle'", "'square' would get label 0"),
        ),
        (
            ("square", "circle", "triangle"),
            ("'circle' would get label 0, which is 'square'", "('circle', 'square', 'triangle')"),
        ),
        (tuple(map(str.upper, THING_CLASSES)), ("'CIRCLE' is no category", "mean 'circle'")),
    ],
    ids=["misspelt", "order", "case"],
)
def test_class_names_must_fit_the_categories(root: Path, classes: tuple, parts: tuple):
    error = refusal(coco(root, metainfo={"classes": classes}))
    assert_says(error, "annotations/instances_train.json", "metainfo=dict(classes=", *parts)


def test_one_class_without_its_comma(root: Path):
    error = refusal(coco(root, metainfo={"classes": ("circle")}))
    assert isinstance(error, ConfigError)
    assert_says(error, "'circle' is a string", "classes=('circle',)")


def test_two_images_with_one_id(root: Path):
    change_json(root, lambda content: content["images"][3].update(id=1))
    assert_says(refusal(coco(root)), "id 1", "000001.jpg", "000003.jpg", "would vanish")


def test_nothing_left_after_filtering(root: Path):
    error = refusal(coco(root, filter_cfg={"filter_empty_gt": True, "min_size": 500}))
    assert_says(error, "no image is left", "8 images", "'min_size': 500")


def test_an_empty_annotation_file_is_not_blamed_on_a_filter(root: Path):
    change_json(root, lambda content: content.update(images=[], annotations=[]))
    error = refusal(coco(root, filter_cfg={}))
    assert_says(error, "no image is left", "0 images and 0 annotations")
    assert "filter_cfg" not in str(error)


def test_masks_asked_for_but_not_annotated(root: Path):
    change_json(root, lambda content: content["annotations"][0].pop("segmentation"))
    assert_says(refusal(coco(root)), "000000.jpg", "no segmentation", "with_mask=False")


@pytest.mark.parametrize(
    ("content", "part"),
    [('{"images": [', "not valid JSON"), ('{"images": [{"id": 1}]}', "not COCO's format")],
)
def test_annotation_files_that_are_none(root: Path, content: str, part: str):
    (root / "annotations/instances_train.json").write_text(content)
    assert_says(refusal(coco(root)), "instances_train.json", part)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda png: png[..., :1], ("no three colour channels",)),
        (lambda png: png[:90], ("90 x 128", "96 x 128")),
        (np.zeros_like, ("does not show", "segments")),
    ],
    ids=["index mask", "size", "other ids"],
)
def test_panoptic_maps_must_be_those_of_the_file(root: Path, change: Callable, parts: tuple):
    path = root / "annotations/panoptic_train/000002.png"
    cv2.imwrite(str(path), change(cv2.imread(str(path))))
    assert_says(refusal(panoptic(root)), str(path), *parts)


def test_a_panoptic_map_of_unlisted_segments_is_refused(root: Path):
    path = root / "annotations/panoptic_train/000002.png"
    png = cv2.imread(str(path))
    png[:2, :3] = (3, 2, 1)
    cv2.imwrite(str(path), png)
    colour = 1 + 2 * 256 + 3 * 65536
    assert_says(refusal(panoptic(root)), str(path), f"id {colour}", "6 pixels", "R 1, G 2, B 3")


def test_a_segment_without_a_class_is_refused(root: Path):
    def change(content: dict) -> None:
        del content["annotations"][1]["segments_info"][0]["category_id"]

    change_json(root, change, "panoptic")
    assert_says(refusal(panoptic(root)), "panoptic_train.json", "has no category_id", "segment")


def test_a_segment_without_pixels_is_refused(root: Path):
    def change(content: dict) -> None:
        segments = content["annotations"][1]["segments_info"]
        segments.append({**segments[0], "id": 12345})

    change_json(root, change, "panoptic")
    assert_says(refusal(panoptic(root)), "000001.png", "does not show 1 of its", "12345")


def test_a_file_of_the_other_form_is_refused(root: Path):
    error = refusal(panoptic(root) | {"ann_file": "annotations/instances_train.json"})
    assert_says(error, WHERE, "instances_train.json", "has no segments_info", "panoptic file")
    error = refusal(coco(root, ann_file="annotations/panoptic_train.json"))
    assert_says(error, WHERE, "panoptic_train.json", "is a panoptic file", "instances_val2017.json")


def test_a_metric_file_of_the_other_form_is_refused(root: Path):
    files = {form: str(root / f"annotations/{form}_val.json") for form in ("instances", "panoptic")}
    for scope, name, form in (
        ("mmdet", "CocoPanopticMetric", "instances"),
        ("mmattn", "ClasswisePanopticMetric", "instances"),
        ("mmdet", "CocoMetric", "panoptic"),
    ):
        metric = {"type": f"{scope}.{name}", "ann_file": files[form]}
        with pytest.raises(DataError, match=rf"val_evaluator.ann_file: .*{form}_val.json is a "):
            check_metric_file(metric, "val_evaluator")
        other = ({"instances", "panoptic"} - {form}).pop()
        check_metric_file({**metric, "ann_file": files[other]}, "val_evaluator")


def assert_says(error: Exception, *parts: str) -> None:
    text = re.sub(r"\s+", " ", str(error))
    for part in parts:
        assert part in text


# --- real data -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "changes", "entries"),
    [
        ("camvid", None, 367),
        ("coco100", {"ann_file": "annotations/instances_train2017.json"}, 98),
        (
            "coco100",
            {
                "type": "mmdet.CocoPanopticDataset",
                "ann_file": "annotations/panoptic_train2017.json",
                "data_prefix": {"img": "train2017/", "seg": "annotations/panoptic_train2017/"},
                "pipeline": [{"type": "LoadImageFromFile"}, {"type": "LoadPanopticAnnotations"}],
            },
            98,
        ),
        (
            "nuclei",
            {"data_prefix": {"img": "images/"}, "metainfo": {"classes": ("nucleus",)}},
            240,
        ),
        (
            "bccd",
            {
                "type": "mmdet.VOCDataset",
                "ann_file": "ImageSets/Main/train.txt",
                "data_prefix": {"sub_data_root": ""},
                "metainfo": {"classes": ("RBC", "WBC", "Platelets")},
                "pipeline": [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}],
            },
            205,
        ),
    ],
    ids=["camvid", "coco", "coco panoptic", "nuclei", "bccd"],
)
def test_real_data_passes(shared_data: Path, folder: str, changes: dict | None, entries: int):
    root = shared_data / folder
    if not root.is_dir():
        pytest.skip(f"{folder} not found at {root}")
    init_default_scope("mmdet")
    if changes is None:
        cfg = semantic(root, type="mmattn.CamVidDataset")
    else:
        cfg = {**coco(root, data_prefix={"img": "train2017/"}, metainfo={}), **changes}
        if folder == "nuclei":
            cfg["ann_file"] = "annotations/instances_train.json"
    assert check_dataset(cfg, WHERE).entries == entries
