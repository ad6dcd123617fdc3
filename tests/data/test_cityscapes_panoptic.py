"""Promise: a folder of Cityscapes, as it is unpacked and converted, is read with things first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData

from mmattn.config import load_config
from mmattn.errors import DataError
from mmattn.preflight.data.dataset import check_dataset
from mmattn.registry import DATASETS, METRICS
from tests.conftest import REPO

CONFIG = REPO / "configs/mask2former/mask2former_r50_8xb2-90k_cityscapes-panoptic.py"
#: Ids of cityscapesscripts' labels that are evaluated, in its order.
LABELS = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17,
    "traffic light": 19, "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23,
    "person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31, "motorcycle": 32,
    "bicycle": 33,
}  # fmt: skip
#: Segments of an image: id in the map -> rows; below 1000 stuff, or a crowd of things.
ROWS = {7: (0, 20), 23: (20, 30), 24000: (30, 40), 24001: (40, 50), 26: (50, 64)}
SIZE = (64, 128)


def write_split(root: Path, split: str, image: str, ids: dict[str, int] = LABELS) -> None:
    """Write what csCreatePanopticImgs leaves, its names included."""
    city = image.partition("_")[0]
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    picture = root / "leftImg8bit" / split / city / f"{image}_leftImg8bit.png"
    picture.parent.mkdir(parents=True)
    cv2.imwrite(str(picture), pixels)
    numbers, segments = np.zeros(SIZE, np.int64), []
    for number, (top, bottom) in ROWS.items():
        numbers[top:bottom] = number
        label = number // 1000 if number >= 1000 else number
        segments.append(
            {
                "id": number,
                "category_id": label,
                "area": (bottom - top) * SIZE[1],
                "bbox": [0, top, SIZE[1], bottom - top],
                "iscrowd": int(number == 26),
            }
        )
    numbers[0, :5] = 0  # void
    folder = root / "gtFine" / f"cityscapes_panoptic_{split}"
    folder.mkdir(parents=True)
    colours = np.stack([numbers // 65536, numbers // 256 % 256, numbers % 256], -1)  # BGR
    cv2.imwrite(str(folder / f"{image}_gtFine_panoptic.png"), colours.astype(np.uint8))
    content = {
        "images": [
            {
                "id": image,
                "height": SIZE[0],
                "width": SIZE[1],
                "file_name": f"{image}_gtFine_leftImg8bit.png",
            }
        ],
        "annotations": [
            {
                "image_id": image,
                "file_name": f"{image}_gtFine_panoptic.png",
                "segments_info": segments,
            }
        ],
        "categories": [
            {"id": number, "name": name, "isthing": int(number >= 24)}
            for name, number in ids.items()
        ],
    }
    folder.with_suffix(".json").write_text(json.dumps(content))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_split(tmp_path, "train", "aachen_000000_000019")
    write_split(tmp_path, "val", "frankfurt_000001_007973")
    return tmp_path


def config(root: Path) -> Any:
    cfg = load_config(CONFIG)
    for key in ("train_dataloader", "val_dataloader"):
        cfg[key].dataset.data_root = f"{root}/"
    return cfg


def build(cfg: Any, split: str) -> Any:
    with DefaultScope.overwrite_default_scope("mmdet"):
        return DATASETS.build(cfg[f"{split}_dataloader"].dataset)


def test_training_reads_things_first(root: Path) -> None:
    cfg = config(root)
    cfg.train_dataloader.dataset.pipeline = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadPanopticAnnotations"},
        {"type": "PackDetInputs"},
    ]
    (item,) = build(cfg, "train")
    sample = item["data_samples"]
    assert sample.img_path.endswith("train/aachen/aachen_000000_000019_leftImg8bit.png")
    assert sample.gt_instances.labels.tolist() == [0, 0]  # two persons
    found = sample.gt_sem_seg.sem_seg[0]
    assert found[10].unique().tolist() == [8]  # road
    assert found[25].unique().tolist() == [18]  # sky
    assert found[0, :5].unique().tolist() == [255]


def test_the_whole_training_pipeline_runs(root: Path) -> None:
    (item,) = build(config(root), "train")
    assert item["inputs"].shape[0] == 3


def test_a_perfect_prediction_is_measured_as_one(root: Path) -> None:
    cfg = config(root)
    dataset = build(cfg, "val")
    with DefaultScope.overwrite_default_scope("mmdet"):
        metric = METRICS.build(cfg.val_evaluator)
    metric.dataset_meta = dataset.metainfo
    sample = pseudo_collate([dataset[0]])["data_samples"][0]
    labels = {7: 8, 23: 18, 24000: 0 + 1000, 24001: 0 + 2000}
    predicted = torch.full(SIZE, 19)
    for number, (top, bottom) in ROWS.items():
        if number in labels:  # crowds need not be found
            predicted[top:bottom] = labels[number]
    sample.pred_panoptic_seg = PixelData(sem_seg=predicted[None])
    metric.process(None, [sample.to_dict()])
    scores = metric.evaluate(1)
    assert scores["coco_panoptic/PQ"] == 100
    assert metric.panoptic is not None


def test_files_are_checked_before_a_training(root: Path) -> None:
    cfg = config(root)
    check_dataset(cfg.val_dataloader.dataset, "val_dataloader.dataset")


def test_ids_that_name_no_city(tmp_path: Path) -> None:
    write_split(tmp_path, "val", "frankfurt_1")
    file = tmp_path / "gtFine/cityscapes_panoptic_val.json"
    file.write_text(file.read_text().replace('"frankfurt_1"', '"17"'))
    with pytest.raises(DataError, match=r"cityscapes_panoptic_val.json: the image '17' has no id"):
        build(config(tmp_path), "val")


def test_a_class_that_the_file_lacks(tmp_path: Path) -> None:
    fewer = {name: number for name, number in LABELS.items() if name != "train"}
    write_split(tmp_path, "val", "frankfurt_1", fewer)
    with pytest.raises(DataError, match="no category train; it has road"):
        build(config(tmp_path), "val")
