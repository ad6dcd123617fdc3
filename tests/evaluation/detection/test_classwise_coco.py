"""The per-class COCO metric gives mmdet's numbers (pycocotools) on random datasets."""

from __future__ import annotations

import inspect
import io
import json
import math
import unittest.mock
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmengine.fileio import dump
from pycocotools import mask as rle

from mmattn.errors import ConfigError
from mmattn.evaluation import ClasswiseCocoMetric
from mmattn.evaluation.detection.analysis import AP_COLUMNS
from mmattn.evaluation.detection.coco_evaluator import PRECISIONS
from tests.support.coco_cases import plain_evaluation

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


@pytest.mark.parametrize("seed", range(6))
def test_scores_before_rounding_are_pycocotools(seed: int, tmp_path: Path) -> None:
    file, samples = random_data(tmp_path, seed)
    prefix = str(tmp_path / "found")
    metric = ClasswiseCocoMetric(ann_file=file, metric=["bbox", "segm"], outfile_prefix=prefix)
    evaluated(metric, samples)
    for iou_type in ("bbox", "segm"):
        found = json.loads(Path(f"{prefix}.{iou_type}.json").read_text())
        theirs = plain_evaluation(json.loads(Path(file).read_text()), found, iou_type)
        with redirect_stdout(io.StringIO()):
            theirs.summarize()
        ours = [metric.scores[f"{iou_type}_{item}"] for item in PRECISIONS]
        assert ours == pytest.approx(theirs.stats[:6].tolist(), abs=1e-9)
    assert any(value != round(value, 3) for value in metric.scores.values())


def test_a_list_of_unsure_detections_is_told(tmp_path: Path) -> None:
    """Heads with a low threshold, such as YOLOv12's, never return nothing."""
    file, samples = random_data(tmp_path, 3)
    for factor, told in ((1.0, False), (0.04, True)):
        for sample in samples:
            sample["pred_instances"]["scores"] = sample["pred_instances"]["scores"] * factor
        with unittest.mock.patch("mmattn.evaluation.detection.classwise_coco.print_log") as log:
            evaluated(ClasswiseCocoMetric(ann_file=file, metric="bbox"), samples)
        said = " ".join(str(call.args[0]) for call in log.call_args_list)
        assert ("sure of nothing: the highest score" in said) is told


def test_the_table_says_the_confidence_of_its_precision_and_recall(tmp_path: Path) -> None:
    file, samples = random_data(tmp_path, 3)
    metric = ClasswiseCocoMetric(ann_file=file, metric="bbox")
    evaluated(metric, samples)
    (table,), numbers = metric.class_tables, metric.numbers["bbox"]
    assert f"confidence {numbers.confidence:.3f} (best mean F1)" in table.title
    assert table.columns[:6] == ("images", "objects", "P", "R", "AP50", "AP")
    last = [cell.strip() for cell in table.to_text().splitlines()[-1].split("|")]
    objects = sum(row[1] for row in table.rows.values())
    assert last[1] == "all" and last[3] == f"{objects:.0f}"
    best = numbers.f1[:, int(np.argmin(abs(numbers.confidences - numbers.confidence)))]
    row = dict(zip(table.columns, table.rows["cat"], strict=True))
    place = numbers.classes.index("cat")
    assert best[place] == pytest.approx(2 * row["P"] * row["R"] / (row["P"] + row["R"]))


def test_the_order_of_the_images_is_irrelevant(tmp_path: Path) -> None:
    file, samples = random_data(tmp_path, 1)
    first, second = (
        ClasswiseCocoMetric(ann_file=file, metric=["bbox", "segm"], bootstrap=20) for _ in range(2)
    )
    assert evaluated(first, samples) == evaluated(second, samples[::-1])
    for iou_type, numbers in first.numbers.items():
        assert numbers.to_json() == second.numbers[iou_type].to_json()


def test_intervals_are_reported_and_tabled(tmp_path: Path) -> None:
    file, samples = random_data(tmp_path, 1)
    metric = ClasswiseCocoMetric(ann_file=file, metric="bbox", bootstrap=50)
    result = evaluated(metric, samples)
    assert result["coco/bbox_mAP_low"] <= result["coco/bbox_mAP"] <= result["coco/bbox_mAP_high"]
    _, intervals = metric.class_tables
    assert intervals.columns == ("AP50 low", "AP50 high", "AP low", "AP high")
    assert intervals.absent == {"cow"}


@pytest.mark.parametrize("options", [{"bootstrap": -1}, {"worst": 2.5}, {"worst": True}])
def test_wrong_numbers_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError, match="must be a whole number, 0 or more"):
        ClasswiseCocoMetric(**options)


def test_the_options_of_upstream_are_all_there() -> None:
    theirs = inspect.signature(CocoMetric).parameters
    ours = inspect.signature(ClasswiseCocoMetric).parameters
    assert set(theirs) <= set(ours)
    assert {name: p.default for name, p in theirs.items()} == {
        name: ours[name].default for name in theirs
    }


def test_what_upstream_evaluates_has_no_tables_and_no_plots(tmp_path: Path) -> None:
    file, samples = random_data(tmp_path, 1)
    for options in ({"metric": "proposal"}, {"metric_items": ["mAP", "AR@100"]}):
        metric = ClasswiseCocoMetric(ann_file=file, **options)
        assert evaluated(metric, samples)
        assert metric.class_tables == () and metric.save_plots(tmp_path / "plots", "val") == []
    assert not (tmp_path / "plots").exists()


def test_the_limits_of_detections_are_upstreams(tmp_path: Path) -> None:
    """mAP is COCO's at 100 detections of an image, the others are at 1000."""
    file, _ = random_data(tmp_path, 0)
    content = json.loads(Path(file).read_text())
    boxes = [[8.0 * i, 8.0 * j, 6.0, 6.0] for i in range(10) for j in range(12)]
    content["annotations"] = [
        {"id": n + 1, "image_id": 1, "category_id": 7, "bbox": b, "area": 36.0, "iscrowd": 0}
        for n, b in enumerate(boxes)
    ]
    Path(file).write_text(json.dumps(content))
    corners = torch.tensor(boxes)
    corners[:, 2:] += corners[:, :2]
    found = {
        "bboxes": corners,
        "scores": torch.linspace(0.9, 0.1, len(boxes)),
        "labels": torch.zeros(len(boxes), dtype=torch.long),
    }
    empty = {key: value[:0] for key, value in found.items()}
    samples = [
        {"img_id": i, "ori_shape": (SIDE, SIDE), "pred_instances": found if i == 1 else empty}
        for i in range(1, 7)
    ]
    theirs = evaluated(CocoMetric(ann_file=file), samples)
    metric = ClasswiseCocoMetric(ann_file=file)
    assert evaluated(metric, samples) == pytest.approx(theirs, abs=1e-9)
    assert theirs["coco/bbox_mAP"] < theirs["coco/bbox_mAP_50"] == 1.0
    for limits in ((100, 1, 10), (1, 10, 100), (1000, 100, 1)):
        theirs = evaluated(CocoMetric(ann_file=file, proposal_nums=limits), samples)
        ours = evaluated(ClasswiseCocoMetric(ann_file=file, proposal_nums=limits), samples)
        assert ours == pytest.approx(theirs, abs=1e-9), limits
    assert metric.numbers["bbox"].precision[metric.numbers["bbox"].classes.index("cat")].min() == 1


def test_each_class_is_the_result_of_a_data_set_of_that_class_alone(tmp_path: Path) -> None:
    """Also proves that no value is listed under another class' name, as ids are out of order."""
    file, samples = random_data(tmp_path, 1)
    metric = ClasswiseCocoMetric(ann_file=file, metric="bbox")
    evaluated(metric, samples)
    (table,) = metric.class_tables
    assert table.absent == {"cow"}
    row = dict(zip(table.columns, table.rows["cow"], strict=True))
    assert row["images"] == row["objects"] == 0
    assert all(math.isnan(row[column]) for column in table.columns if column not in table.counts)
    for name in ("cat", "dog"):
        content = json.loads(Path(file).read_text())
        category = next(c["id"] for c in CATEGORIES if c["name"] == name)
        content["annotations"] = [a for a in content["annotations"] if a["category_id"] == category]
        alone = tmp_path / f"{name}.json"
        alone.write_text(json.dumps(content))
        expected = evaluated(CocoMetric(ann_file=str(alone), metric="bbox"), samples)
        row = dict(zip(table.columns, table.rows[name], strict=True))
        for column, item in AP_COLUMNS.items():
            shown = -1 if math.isnan(row[column]) else round(row[column], 3)
            assert shown == pytest.approx(expected[f"coco/bbox_{item}"], abs=1e-9), name
        objects = [a for a in content["annotations"] if not a["iscrowd"]]
        assert row["objects"] == len(objects)
        assert row["images"] == len({a["image_id"] for a in objects})


def test_a_model_that_detects_nothing_scores_zero(tmp_path: Path) -> None:
    file, samples = random_data(tmp_path, 2)
    for sample in samples:
        sample["pred_instances"] = {
            "bboxes": torch.zeros(0, 4),
            "scores": torch.zeros(0),
            "labels": torch.zeros(0, dtype=torch.long),
        }
    metric = ClasswiseCocoMetric(ann_file=file, metric="bbox")
    metrics = evaluated(metric, samples)
    assert metrics["coco/bbox_mAP"] == 0.0
    numbers = metric.numbers["bbox"]
    assert numbers.confusion[:-1, -1].sum() == numbers.value("objects") == numbers.sizes[2].sum()
    assert len(metric.save_plots(tmp_path / "plots", "val")) == 7


def test_masks_of_a_model_without_any_are_refused_with_what_to_ask_for(tmp_path: Path) -> None:
    file, samples = random_data(tmp_path, 2)
    for sample in samples:
        del sample["pred_instances"]["masks"]
    metric = ClasswiseCocoMetric(ann_file=file, metric=["bbox", "segm"])
    with pytest.raises(ConfigError, match=r"'segm', but .* set metric=\['bbox'\] in val_evaluator"):
        evaluated(metric, samples)
