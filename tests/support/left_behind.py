"""The folder of a training as it is left behind, written by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np

LOG = """\
2026/01/01 00:00:00 - mmengine - INFO - System environment
2026/01/01 00:00:04 - mmengine - WARNING - The first warning
of two lines
2026/01/01 00:00:05 - mmengine - WARNING - The prefix is not set in metric class X.
2026/01/01 00:00:05 - mmengine - ERROR - hooks.py - after_train - 12 - An error
2026/01/01 00:01:30 - mmengine - INFO - Iter(val) [6/6]
2026/01/01 00:09:00 - mmengine - INFO - Report of this run: report.html
"""
FACTS = {
    "kind": "train",
    "config": "configs/my_net.py",
    "task": "semantic segmentation",
    "metric": "mIoU",
    "validation_axis": "iteration",
    "model": {
        "type": "EncoderDecoder",
        "parameters": 1234567,
        "trained": 1000,
        "parts": [{"name": "head", "type": "CCHead", "parameters": 7, "trained": 7}],
        "flops": 2_000_000_000,
        "input_shape": [1, 3, 64, 96],
    },
    "data": [
        {
            "split": "train",
            "type": "Shapes",
            "images": 16,
            "root": "data/shapes",
            "counts": {"sky": 900, "<b>": 100},
            "unit": "pixels",
            "looked_at": {"masks": 16},
            "fingerprint": {"files": 32, "bytes": 2**20, "sha256": "ab" * 32},
            "histograms": [{"title": "images by side", "bins": {"128 to 256": 16}}],
        }
    ],
    "environment": {"versions": {"torch": "2.1"}, "machine": {"CPU cores": "2"}},
    "start": {"seed": 7, "images_at_a_time": 4},
    "peak_memory_mib": 321.0,
    "ended": {"how": "finished", "step": 40},
}


def leave_behind(folder: Path, facts: dict | None = FACTS) -> Path:
    """Write what a training of one start leaves into ``folder``; returns the folder."""
    start = folder / "20260101_000000"
    vis_data = start / "vis_data"
    vis_data.mkdir(parents=True)
    (start / f"{start.name}.log").write_text(LOG)
    (start / "command.txt").write_text("mmattn train my_net.py --cfg-options a='<b>'\n")
    (vis_data / "config.py").write_text("model = dict(type='EncoderDecoder')\n")
    records = [
        {"lr": 0.1, "loss": 3.0 / step, "time": 0.5, "data_time": 0.1, "step": step}
        for step in range(1, 41)
    ]
    records += [{"mIoU": 50.0, "step": 20}, {"mIoU": 45.0, "step": 40}]
    (vis_data / "scalars.json").write_text("\n".join(map(json.dumps, records)) + "\n")
    with (start / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("split", "epoch", "iter", "table", "class", "metric", "value"))
        for step, value in ((20, 1.0), (40, 71.25)):
            for row in ("sky", "<b>", "mean"):
                writer.writerow(("val", 0, step, "segmentation, %", row, "IoU", value))
    matrix = ["labelled / predicted,sky,<b>", "sky,90,10", "<b>,0,0"]
    (vis_data / "confusion_val.csv").write_text("\n".join(matrix) + "\n")
    bins = [{"from": 0.5, "to": 1.0, "share": 1.0, "confidence": 0.9, "accuracy": 0.7}]
    (vis_data / "calibration_val.json").write_text(json.dumps({"bins": bins}))
    for name_of in ("worst_val", "best_val", "quality_val"):
        image = np.full((20, 60, 3), 90, np.uint8)
        cv2.imwrite(str(vis_data / f"{name_of}.png"), image)
    if facts is not None:
        report = start / "report"
        report.mkdir()
        (report / "facts.json").write_text(json.dumps(facts))
        cv2.imwrite(str(report / "batches.jpg"), np.full((20, 60, 3), 200, np.uint8))
    return start.parent
