"""A run with everything that a report can show."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmattn.evaluation.semantic.class_ious import ClassIoUs
from mmattn.reports.run import ModelSize, Step
from mmattn.reports.semantic.run import Sample, SegmentationRun

NAN = float("nan")


@pytest.fixture
def run(tmp_path) -> SegmentationRun:
    scalars = tmp_path / "scalars.json"
    records = [{"lr": 0.1, "loss": 3.0 / step, "step": step} for step in range(1, 60)]
    records += [{"mIoU": 10.0 * i, "step": 20 * i} for i in range(1, 4)]
    scalars.write_text("\n".join(map(json.dumps, records)))
    classes = ("<sky>", "a & b", "road")
    rng = np.random.default_rng(0)
    maps = [rng.integers(0, 3, (20, 30)) for _ in range(3)]
    row = {"name": "odd", "batch": 1, "height": 21, "width": 31, "images": 4}
    row |= {"max_difference": 1e-6, "max_logit": 2.0, "relative": 5e-7, "agreement": 0.99999}
    bad = row | {"name": "larger", "max_difference": None, "relative": None, "agreement": 0.5}
    return SegmentationRun(
        title="A run of <CCNet>",
        summary="Summary.",
        palette=[(10, 20, 30)],
        untrained=ClassIoUs(classes, (1.0, 2.0, NAN), 5.0),
        trained=ClassIoUs(classes, (71.0, 82.0, NAN), 90.0),
        exported=ClassIoUs(classes, (71.0, 82.0, NAN), 90.0),
        num_images=4,
        scalars=[scalars],
        samples=[Sample(rng.integers(0, 256, (20, 30, 3), np.uint8), *maps)],
        parity={"runtime": "onnxruntime 1", "tolerance": 1e-4, "min_agreement": 0.999,
                "notes": ["A note."], "rows": [row, bad]},
        size=ModelSize(233291, 150_000_000, (1, 3, 20, 30)),
        file_bytes=946797,
        steps=[Step("Train", "mmattn train --cfg-options a='<b>'", 65.0)],
        environment={"versions": {"torch": "2"}, "backends": {"mmcv": "bridge"},
                     "machine": {"CPU cores": "2"}},
    )  # fmt: skip
