"""Numbers of a small evaluation and a run that shows them."""

from __future__ import annotations

import copy
import json

import cv2
import numpy as np
import pytest
from faster_coco_eval import COCO

from mmattn.evaluation.detection.analysis import AP_COLUMNS, analyse
from mmattn.evaluation.detection.confidence import confidence_curves
from mmattn.evaluation.detection.worst_images import worst_images
from mmattn.reports.detection import DetectionNumbers, DetectionRun
from mmattn.reports.run import ModelSize, Step
from tests.support.coco_cases import CATEGORIES, SIDE, matched, random_case


def numbers_of(dataset, detections, names, iou_type="bbox", limit=3) -> DetectionNumbers:
    matches = matched(dataset, detections, iou_type)
    curves = confidence_curves(matches)
    per_class = np.where(matches.positives > 0, 0.5, np.nan)
    worst = worst_images(
        matches, float(curves.confidences[curves.best]), limit,
        truth=COCO(copy.deepcopy(dataset)), detections=detections, iou_type=iou_type, names=names,
    )  # fmt: skip
    return analyse(
        matches, curves, iou_type=iou_type,
        classes=[c["name"] for c in sorted(CATEGORIES, key=lambda c: c["id"])],
        class_precisions=dict.fromkeys(AP_COLUMNS.values(), per_class),
        overall=dict.fromkeys(AP_COLUMNS.values(), 0.5),
        worst=worst, intervals={"mAP": (0.4, 0.6)},
    )  # fmt: skip


@pytest.fixture
def numbers(tmp_path) -> dict[str, DetectionNumbers]:
    """Boxes and masks, with images that exist."""
    dataset, detections = random_case(8)
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    names = {}
    for record in dataset["images"]:
        names[record["id"]] = str(tmp_path / record["file_name"])
        cv2.imwrite(names[record["id"]], image)
    return {kind: numbers_of(dataset, detections, names, kind) for kind in ("bbox", "segm")}


@pytest.fixture
def run(numbers, tmp_path) -> DetectionRun:
    scalars = tmp_path / "scalars.json"
    records = [{"lr": 0.1, "loss": 3.0 / step, "step": step} for step in range(1, 30)]
    records += [
        {"coco/bbox_mAP": 0.1 * i, "coco/bbox_mAP_50": 0.2 * i, "step": i} for i in range(1, 4)
    ]
    scalars.write_text("\n".join(map(json.dumps, records)))
    return DetectionRun(
        title="A run of <YOLOX>",
        summary="Summary.",
        numbers=numbers,
        num_images=7,
        scalars=[scalars],
        validation_axis="epoch",
        size=ModelSize(233291, 150_000_000, (1, 3, 20, 30)),
        steps=[Step("Train", "mmattn train --cfg-options a='<b>'", 65.0)],
        environment={"versions": {"torch": "2"}, "machine": {"CPU cores": "2"}},
        notes=["A note."],
    )
