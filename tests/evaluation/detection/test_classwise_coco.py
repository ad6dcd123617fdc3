"""The per-class COCO metric gives mmdet's numbers (pycocotools) on random datasets."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmengine.fileio import dump
from pycocotools import mask as rle

from mmattn.errors import ConfigError
from mmattn.evaluation import ClasswiseCocoMetric

# Ids out of order and with gaps, and a class that never occurs.
CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}, {"id": 9, "name": "cow"}]
CLASSES = ("cat", "dog", "cow")
SIDE = 128


def box_mask(box: list[float]) -> dict:
    x, y, w, h = (round(value) for value in box)
    mask = np.zeros((SIDE, SIDE), np.uint8, order="F")
    mask[y : y + h, x : x + w] = 1
    encoded = rle.encode(mask)
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def random_data(folder: Path, seed: int) -> tuple[str, list[dict]]:
    """An annotation file and detections near its objects, with crowds, misses and duplicates."""
    rng = np.random.default_rng(seed)
    images, annotations, samples = [], [], []
    labels = {name: label for label, name in enumerate(CLASSES)}
    for image in range(1, 7):
        images.append({"id": image, "width": SIDE, "height": SIDE, "file_name": f"{image}.png"})
        boxes, scores, kinds = [], [], []
        for _ in range(rng.integers(0, 5)):
            w, h = rng.uniform(4, 110, 2)
            x, y = rng.uniform(0, SIDE - w), rng.uniform(0, SIDE - h)
            category = CATEGORIES[rng.integers(2)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": category["id"],
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": int(rng.random() < 0.1),
                    "segmentation": box_mask([x, y, w, h]),
                }
            )
            for _ in range(rng.integers(0, 3)):
                left, top = np.clip(np.add([x, y], rng.normal(0, 3, 2)), 0, SIDE - 4)
                boxes.append([left, top, min(left + w, SIDE), min(top + h, SIDE)])
                scores.append(rng.random())
                kinds.append(labels[category["name"]] if rng.random() < 0.8 else 2)
        masks = [box_mask([a, b, c - a, d - b]) for a, b, c, d in boxes]
        samples.append(
            {
                "img_id": image,
                "ori_shape": (SIDE, SIDE),
                "pred_instances": {
                    "bboxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                    "scores": torch.tensor(scores, dtype=torch.float32),
                    "labels": torch.tensor(kinds, dtype=torch.long),
                    "masks": masks,
                },
            }
        )
    file = folder / "truth.json"
    dump({"images": images, "annotations": annotations, "categories": CATEGORIES}, str(file))
    return str(file), samples


def evaluated(metric: CocoMetric, samples: list[dict]) -> dict[str, float]:
    metric.dataset_meta = {"classes": CLASSES}
    metric.process({}, samples)
    return metric.evaluate(len(samples))


@pytest.mark.parametrize("seed", range(4))
def test_same_results_as_upstream(seed: int, tmp_path: Path) -> None:
    file, samples = random_data(tmp_path, seed)
    options = {"ann_file": file, "metric": ["bbox", "segm"]}
    theirs = evaluated(CocoMetric(**options), samples)
    ours = evaluated(ClasswiseCocoMetric(**options), samples)
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert list(ours) == list(theirs)


def test_each_class_is_the_result_of_a_data_set_of_that_class_alone(tmp_path: Path) -> None:
    """Also proves that no value is listed under another class' name, as ids are out of order."""
    file, samples = random_data(tmp_path, 1)
    metric = ClasswiseCocoMetric(ann_file=file, metric="bbox")
    evaluated(metric, samples)
    (table,) = metric.class_tables
    assert table.absent == {"cow"}
    assert math.isnan(table.rows["cow"][0])
    for name in ("cat", "dog"):
        content = json.loads(Path(file).read_text())
        category = next(c["id"] for c in CATEGORIES if c["name"] == name)
        content["annotations"] = [a for a in content["annotations"] if a["category_id"] == category]
        alone = tmp_path / f"{name}.json"
        alone.write_text(json.dumps(content))
        expected = evaluated(CocoMetric(ann_file=str(alone), metric="bbox"), samples)
        wanted = [expected[f"coco/bbox_{column}"] for column in table.columns]
        shown = [-1 if math.isnan(value) else round(value, 3) for value in table.rows[name]]
        assert shown == pytest.approx(wanted, abs=1e-9), name


def test_a_model_that_detects_nothing_scores_zero(tmp_path: Path) -> None:
    file, samples = random_data(tmp_path, 2)
    for sample in samples:
        sample["pred_instances"] = {
            "bboxes": torch.zeros(0, 4),
            "scores": torch.zeros(0),
            "labels": torch.zeros(0, dtype=torch.long),
        }
    metrics = evaluated(ClasswiseCocoMetric(ann_file=file, metric="bbox"), samples)
    assert metrics["coco/bbox_mAP"] == 0.0


def test_masks_of_a_model_without_any_are_refused_with_what_to_ask_for(tmp_path: Path) -> None:
    file, samples = random_data(tmp_path, 2)
    for sample in samples:
        del sample["pred_instances"]["masks"]
    metric = ClasswiseCocoMetric(ann_file=file, metric=["bbox", "segm"])
    with pytest.raises(ConfigError, match=r"'segm', but .* set metric=\['bbox'\] in val_evaluator"):
        evaluated(metric, samples)
