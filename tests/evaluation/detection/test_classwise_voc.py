"""The VOC metric gives mmdet's numbers, and lists the classes under their own names."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.evaluation import VOCMetric

from mmattn.evaluation import ClasswiseVOCMetric, HasClassTables, SavesPlots
from tests.support.coco_cases import CATEGORIES, random_case

CLASSES = tuple(category["name"] for category in CATEGORIES)


def samples_of(seed: int) -> list[dict]:
    dataset, detections = random_case(seed)
    labels = {category["id"]: label for label, category in enumerate(CATEGORIES)}

    def tensors(records: list[dict]) -> dict[str, torch.Tensor]:
        boxes = np.array([r["bbox"] for r in records], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return {
            "bboxes": torch.tensor(boxes),
            "labels": torch.tensor([labels[r["category_id"]] for r in records], dtype=torch.long),
        }

    samples = []
    for image in dataset["images"]:
        own = [a for a in dataset["annotations"] if a["image_id"] == image["id"]]
        found = [d for d in detections if d["image_id"] == image["id"]]
        scores = torch.tensor([d["score"] for d in found], dtype=torch.float32)
        samples.append(
            {
                "gt_instances": tensors([a for a in own if not a["iscrowd"]]),
                "ignored_instances": tensors([a for a in own if a["iscrowd"]]),
                "pred_instances": {**tensors(found), "scores": scores},
            }
        )
    return samples


def evaluated(metric: VOCMetric, samples: list[dict]) -> dict[str, float]:
    # As VOCDataset sets it for data in a folder VOC2007.
    metric.dataset_meta = {"classes": CLASSES, "dataset_type": "VOC2007"}
    metric.process({}, samples)
    return metric.evaluate(len(samples))


@pytest.mark.parametrize("options", [{}, {"iou_thrs": [0.5, 0.75]}])
def test_same_results_as_upstream_under_the_right_names(options: dict) -> None:
    samples = samples_of(8)
    theirs = evaluated(VOCMetric(**options), samples)
    metric = ClasswiseVOCMetric(**options)
    ours = evaluated(metric, samples)
    assert ours == theirs and list(ours) == list(theirs)
    (table,) = metric.class_tables
    assert tuple(table.rows) == CLASSES and table.absent == {"cow"}
    assert math.isnan(table.rows["cow"][2])
    objects = sum(len(sample["gt_instances"]["labels"]) for sample in samples)
    assert table.mean[0] == objects
    mean = np.nanmean([row[2] for row in table.rows.values()])
    assert round(mean, 3) == pytest.approx(ours["pascal_voc/AP50"], abs=1e-9)


@pytest.mark.parametrize("options", [{"metric": "recall"}, {"scale_ranges": [(0, 32), (32, 999)]}])
def test_what_is_left_to_upstream_has_no_table(options: dict, monkeypatch) -> None:
    metric = ClasswiseVOCMetric(**options)
    called = []
    monkeypatch.setattr(VOCMetric, "compute_metrics", lambda self, results: called.append(1) or {})
    evaluated(metric, samples_of(8))
    assert called and metric.class_tables == ()


def test_only_voc_itself_is_warned_of_another_mode(recwarn) -> None:
    metric = ClasswiseVOCMetric(eval_mode="area")
    evaluated(metric, samples_of(8))
    assert not [w for w in recwarn if "Pascal" in str(w.message)]
    with pytest.warns(UserWarning, match="VOC2007 is evaluated with eval_mode='11points'"):
        metric._warn_mode({"classes": ("aeroplane", "cat"), "dataset_type": "VOC2007"})


def test_it_has_tables_and_no_plots(tmp_path: Path) -> None:
    assert isinstance(ClasswiseVOCMetric(), HasClassTables)
    assert not isinstance(ClasswiseVOCMetric(), SavesPlots)
