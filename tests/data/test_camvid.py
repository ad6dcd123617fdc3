"""CamVid: eleven classes in the published order, and unlabelled pixels that nothing counts."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS
from mmseg.evaluation import IoUMetric

from mmattn.data import CamVidDataset

PIPELINE = [
    {"type": "mmseg.LoadImageFromFile"},
    {"type": "mmseg.LoadAnnotations"},
    {"type": "mmseg.PackSegInputs"},
]


def tiny(root: Path) -> Path:
    """One image whose mask shows every value: 0..10 and 11, unlabelled."""
    for folder in ("images/val", "annotations/val"):
        (root / folder).mkdir(parents=True)
    mask = np.repeat(np.arange(12, dtype=np.uint8), 4)[None].repeat(8, 0)
    cv2.imwrite(str(root / "annotations/val/a.png"), mask)
    cv2.imwrite(str(root / "images/val/a.jpg"), np.zeros((*mask.shape, 3), np.uint8))
    return root


def build(root: Path, split: str = "val", **changes) -> CamVidDataset:
    prefix = {"img_path": f"images/{split}", "seg_map_path": f"annotations/{split}"}
    cfg = {"type": "mmattn.CamVidDataset", "data_root": str(root), "data_prefix": prefix}
    return DATASETS.build({**cfg, "pipeline": PIPELINE, **changes})


def test_unlabelled_becomes_ignored_and_the_rest_stays(tmp_path: Path):
    mask = build(tiny(tmp_path))[0]["data_samples"].gt_sem_seg.data[0, 0]
    assert mask[::4].tolist() == [*range(11), 255]


def test_a_subset_of_the_classes_ignores_the_others(tmp_path: Path):
    dataset = build(tiny(tmp_path), metainfo={"classes": ("road", "car", "sky")})
    mask = dataset[0]["data_samples"].gt_sem_seg.data[0, 0, ::4].tolist()
    assert mask == [2, 255, 255, 0, 255, 255, 255, 255, 1, 255, 255, 255]
    assert dataset.metainfo["palette"] == [[128, 64, 128], [64, 0, 128], [128, 128, 128]]


def test_the_metric_ignores_unlabelled_pixels(tmp_path: Path):
    """Whatever is predicted where nothing was labelled, a right answer elsewhere scores 100."""
    dataset = build(tiny(tmp_path))
    sample = dataset[0]["data_samples"]
    metric = IoUMetric(iou_metrics=["mIoU"])
    metric.dataset_meta = dataset.metainfo
    prediction = sample.gt_sem_seg.data.clone()
    prediction[prediction == 255] = 3
    output = {
        "pred_sem_seg": {"data": prediction},
        "gt_sem_seg": {"data": sample.gt_sem_seg.data},
        "img_path": sample.img_path,
    }
    metric.process({}, [output])
    assert metric.evaluate(size=1)["mIoU"] == 100.0


def test_real_files(shared_data: Path):
    root = shared_data / "camvid"
    if not root.is_dir():
        pytest.skip(f"CamVid not found at {root}")
    counts = {split: len(build(root, split)) for split in ("train", "val")}
    assert counts == {"train": 367, "val": 101}
    dataset = build(root)
    seen: set[int] = set()
    for index in range(0, len(dataset), 10):
        sample = dataset[index]
        assert sample["inputs"].shape == (3, 360, 480)
        seen |= set(torch.unique(sample["data_samples"].gt_sem_seg.data).tolist())
    assert seen == {*range(11), 255}
