"""Numbers of a small panoptic evaluation and a run that shows them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmattn.evaluation import ClasswisePanopticMetric
from mmattn.reports.panoptic import PanopticRun
from mmattn.reports.run import ModelSize, Step
from tests.support.panoptic_samples import META, random_scenes, sample_of, write_truth


@pytest.fixture
def run(tmp_path: Path) -> PanopticRun:
    scenes = random_scenes(5, 12)
    root = write_truth(tmp_path / "data", scenes)
    (root / "images").mkdir()
    metric = ClasswisePanopticMetric(
        ann_file=str(root / "panoptic.json"), seg_prefix=str(root / "panoptic"), bootstrap=20,
        worst=3,
    )  # fmt: skip
    metric.dataset_meta = META
    for scene in scenes:
        sample = sample_of(scene, root, instances=True)
        noise = np.random.default_rng(0).integers(0, 256, (*scene.truth.shape, 3), np.uint8)
        assert cv2.imwrite(sample["img_path"], noise)
        metric.process({}, [sample])
    metric.evaluate(len(scenes))
    scalars = tmp_path / "scalars.json"
    records = [{"lr": 0.1, "loss": 3.0 / step, "step": step} for step in range(1, 30)]
    records += [
        {"coco_panoptic/PQ": 10.0 * i, "coco_panoptic/mIoU": 20.0 * i, "step": i}
        for i in range(1, 4)
    ]
    scalars.write_text("\n".join(map(json.dumps, records)))
    assert metric.panoptic is not None
    return PanopticRun(
        title="A run of <Mask2Former>",
        summary="Summary.",
        numbers=metric.panoptic,
        instances={"segm": metric.numbers["segm"]},
        num_images=12,
        scalars=[scalars],
        validation_axis="epoch",
        training_minutes=2.5,
        size=ModelSize(233_000, 10**9, (1, 3, 64, 64)),
        steps=[Step("Train", "mmattn train config.py", 150.0)],
        environment={"machine": {"CPU cores": "2"}, "versions": {"torch": "2"}},
        notes=["A note."],
    )
