"""The generated files load through mmseg's and mmdet's own readers, by the configs that we ship."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from mmattn.data.shapes import CLASSES, STUFF_CLASSES, THING_CLASSES


def shipped(repo: Path, name: str, root: Path, split: str, scope: str):
    """The dataset of a shipped base config, read from ``root``."""
    cfg = Config.fromfile(repo / f"configs/_base_/datasets/shapes_{name}.py")
    init_default_scope(scope)
    dataset = cfg[f"{split}_dataloader"].dataset
    dataset.data_root = str(root)
    if scope == "mmdet":  # found from any default scope by their scoped name
        dataset.type = f"mmdet.{dataset.type}"
    return DATASETS.build(dataset)


@pytest.mark.parametrize(("split", "count", "crop"), [("train", 8, True), ("val", 4, False)])
def test_semantic(repo: Path, shapes_root: Path, split: str, count: int, crop: bool):
    dataset = shipped(repo, "semantic", shapes_root, split, "mmseg")
    assert len(dataset) == count
    assert dataset.metainfo["classes"] == CLASSES
    assert len(dataset.metainfo["palette"]) == len(CLASSES)
    sample = dataset[0]
    mask = sample["data_samples"].gt_sem_seg.data
    assert sample["inputs"].shape[-2:] == mask.shape[-2:] == ((128, 128) if crop else (96, 128))
    assert set(np.unique(mask)) <= {*range(len(CLASSES)), 255}


@pytest.mark.parametrize(("split", "count"), [("train", 8), ("val", 4)])
def test_instance(repo: Path, shapes_root: Path, split: str, count: int):
    dataset = shipped(repo, "instance", shapes_root, split, "mmdet")
    assert len(dataset) == count
    assert dataset.metainfo["classes"] == THING_CLASSES
    instances = dataset[0]["data_samples"].gt_instances
    assert len(instances) >= 1
    raw = [i for i in dataset.get_data_info(0)["instances"] if not i["ignore_flag"]]
    assert instances.labels.tolist() == [i["bbox_label"] for i in raw]
    # The mask of an instance lies in its box: both went through the same resize and flip.
    for mask, box in zip(instances.masks.masks, instances.bboxes, strict=True):
        rows, columns = np.nonzero(mask)
        box = box.tensor.flatten().tolist() if hasattr(box, "tensor") else box.tolist()
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.allclose(box, found, atol=2.0)


@pytest.mark.slow
def test_detection_is_the_boxes_of_the_instances(repo: Path, shapes_root: Path):
    for split in ("train", "val"):
        boxes = shipped(repo, "detection", shapes_root, split, "mmdet")[0]["data_samples"]
        assert len(boxes.gt_instances) >= 1
        assert "masks" not in boxes.gt_instances
    folder = repo / "configs/_base_/datasets"
    cfg, instance = (Config.fromfile(folder / f"shapes_{n}.py") for n in ("detection", "instance"))
    for split in ("val", "test"):
        assert cfg[f"{split}_evaluator"] == instance[f"{split}_evaluator"] | {"metric": "bbox"}


@pytest.mark.parametrize(("split", "count"), [("train", 8), ("val", 4)])
def test_panoptic(repo: Path, shapes_root: Path, split: str, count: int):
    dataset = shipped(repo, "panoptic", shapes_root, split, "mmdet")
    assert len(dataset) == count
    assert dataset.metainfo["stuff_classes"] == STUFF_CLASSES
    sample = dataset[0]["data_samples"]
    semantic = sample.gt_sem_seg.sem_seg.numpy()
    assert set(np.unique(semantic)) <= set(range(len(CLASSES)))
    for mask, label in zip(
        sample.gt_instances.masks.masks, sample.gt_instances.labels.tolist(), strict=True
    ):
        assert (semantic[0][mask.astype(bool)] == label).all()


def test_the_configs_name_the_generator_s_classes(repo: Path):
    folder = repo / "configs/_base_/datasets"
    assert tuple(Config.fromfile(folder / "shapes_instance.py").metainfo.classes) == THING_CLASSES
    panoptic = Config.fromfile(folder / "shapes_panoptic.py").metainfo
    assert tuple(panoptic.classes) == CLASSES
    assert len(panoptic.palette) == len(CLASSES)
