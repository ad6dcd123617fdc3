"""A report on a semantic run of mmdet is made of what its metric has counted."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import mmattn.engine.measurement.semantic as measurement
from mmattn.engine.measurement.semantic import measure_run
from mmattn.errors import ConfigError
from mmattn.evaluation import ClasswiseSemSegMetric
from mmattn.evaluation.semantic.class_ious import ClassIoUs
from mmattn.reports.semantic import write_html_report, write_markdown_report

CLASSES = ("sky", "sea", "never")


def test_ious_by_hand() -> None:
    """3 of 4 pixels of sky, 1 of 2 of sea; one pixel of sky is taken for sea, one is no class."""
    confusion = np.array([[3, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]])
    found = ClassIoUs.of(confusion, CLASSES)
    assert found.ious[:2] == pytest.approx((75, 100 / 3)) and np.isnan(found.ious[2])
    assert found.mean == pytest.approx((75 + 100 / 3) / 2)
    assert found.pixel_accuracy == pytest.approx(100 * 4 / 6)


def test_the_pages_are_made_of_the_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, checkpoint = tmp_path / "semantic.py", tmp_path / "run/epoch_1.pth"
    config.write_text("default_scope = 'mmdet'\n")
    metric = ClasswiseSemSegMetric()
    metric.dataset_meta = {"classes": CLASSES}

    def evaluate(config, checkpoint, choose) -> list:
        with pytest.raises(ConfigError, match=r"val_evaluator has str. Add dict\(type='mmdet.Sem"):
            choose(["no metric"])
        (chosen,) = choose(["no metric", metric])
        rng = np.random.default_rng(0)
        for number in range(3):
            path = str(tmp_path / f"{number}.png")
            cv2.imwrite(path, rng.integers(0, 256, (20, 30, 3), np.uint8))
            label = rng.integers(0, 2, (1, 20, 30))
            guess = np.where(rng.random(label.shape) < 0.8, label, 1 - label)
            sample = {
                "img_path": path,
                "pred_sem_seg": {"sem_seg": torch.tensor(guess)},
                "gt_sem_seg": {"sem_seg": torch.tensor(label)},
            }
            chosen.process({}, [sample])
        chosen.scores_of_the_test = chosen.evaluate(3)
        return [chosen]

    monkeypatch.setattr(measurement, "evaluate_for_report", evaluate)
    run = measure_run(config, checkpoint, num_images=2)
    assert run.trained.mean == pytest.approx(metric.scores_of_the_test["mIoU"], abs=0.006)
    assert run.num_images == 3 and len(run.samples) == 2
    text = write_markdown_report(run, tmp_path / "out").read_text(encoding="utf-8")
    assert "## IoU per class, %, on 3 validation images" in text and "predictions.jpg" in text
    html = write_html_report(run, tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "IoU per class" in html
