"""mmdet's semantic metric: its results on its own samples, and a table beside them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmattn.errors import ConfigError
from mmattn.evaluation import ClasswiseSemSegMetric

CLASSES = ("sky", "sea", "sand", "never")


def samples(count: int = 5) -> list[dict]:
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        label = rng.integers(0, 3, (1, 20, 30))
        predicted = np.where(rng.random(label.shape) < 0.7, label, rng.integers(0, 3, label.shape))
        label[:, :2] = 200
        found.append(
            {
                "img_id": number,
                "img_path": f"images/{number}.jpg",
                "pred_sem_seg": {"sem_seg": torch.tensor(predicted), "ignore_index": 200},
                "gt_sem_seg": {"sem_seg": torch.tensor(label)},
            }
        )
    return found


def run(metric) -> dict[str, float]:
    metric.dataset_meta = {"classes": CLASSES}
    for sample in samples():
        metric.process({}, [sample])
    return metric.evaluate(5)


def test_results_are_those_of_mmdet() -> None:
    from mmdet.evaluation import SemSegMetric

    asked = ["mIoU", "mDice", "mFscore"]
    ours = ClasswiseSemSegMetric(iou_metrics=asked)
    found, expected = run(ours), run(SemSegMetric(iou_metrics=asked))
    assert set(expected) <= set(found)
    for name in set(expected) - {"aAcc"}:
        assert found[name] == pytest.approx(float(expected[name]), abs=0.011), name
    hits = [s["pred_sem_seg"]["sem_seg"][:, 2:] == s["gt_sem_seg"]["sem_seg"][:, 2:]
            for s in samples()]  # fmt: skip
    assert found["aAcc"] == pytest.approx(100 * torch.cat(hits).float().mean().item(), abs=0.006)
    assert list(ours.class_tables[0].rows) == list(CLASSES)
    assert len(ours.worst_images) == 5 and ours.confusion is not None


def test_predictions_are_written_as_label_maps(tmp_path: Path) -> None:
    metric = ClasswiseSemSegMetric(format_only=True, output_dir=str(tmp_path))
    assert run(metric) == {}
    written = cv2.imread(str(tmp_path / "3.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(written, samples()[3]["pred_sem_seg"]["sem_seg"][0])


def test_what_is_missing_is_told() -> None:
    metric = ClasswiseSemSegMetric()
    metric.dataset_meta = {"classes": CLASSES}
    sample = samples(1)[0]
    with pytest.raises(ConfigError, match=r"no ground truth.*with_seg=True"):
        metric.process({}, [{k: v for k, v in sample.items() if k != "gt_sem_seg"}])
    with pytest.raises(ConfigError, match=r"no semantic map, but pred_instances.*semantic_on"):
        metric.process({}, [{"img_path": "x", "pred_instances": {}}])
    with pytest.raises(ConfigError, match="backend_args"):
        ClasswiseSemSegMetric(backend_args={"backend": "petrel"})
