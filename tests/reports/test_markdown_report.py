"""The Markdown page: what a run has, and the files that the page shows."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np

from mmattn.reports import write_markdown_report
from mmattn.reports.semantic.run import SegmentationRun


def test_the_page_of_a_run_with_everything(run, tmp_path) -> None:
    page = write_markdown_report(run, tmp_path / "out")
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# A run of <CCNet>\n\nSummary.\n\nWritten by\n\n```bash\nmmattn train ")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for line in (
        "## IoU per class, %, on 4 validation images",
        "| class | untrained | torch | onnxruntime |",
        "| road | - | - | - |",
        "| **mean** | 1.50 | 76.50 | 76.50 |",
        "90.00 % of the labelled pixels are right.",
        "From left to right: image, ground truth, torch, onnxruntime.",
        "![loss](curves_loss.png)",
        "![validation](curves_metrics.png)",
        "| 1 x 3 x 21 x 31 (odd) | 1.0e-06 | 5.0e-07 | 99.9990 % |",
        "| 1 x 3 x 21 x 31 (larger) | - | - | 50.0000 % |",
        "A note.",
        "- mmcv: bridge",
    ):
        assert line in lines, line
    for file in page.parent.glob("*.png"):
        assert cv2.imread(str(file)) is not None
    assert json.loads((page.parent / "parity.json").read_text()) == run.parity
    sheet = cv2.imread(str(page.parent / "predictions.jpg"))
    assert sheet.shape == (20, 4 * 30, 3)


def test_only_the_trained_network_and_its_scalars(run, tmp_path) -> None:
    plain = SegmentationRun(title="Plain", trained=run.trained, scalars=run.scalars)
    text = write_markdown_report(plain, tmp_path).read_text(encoding="utf-8")
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert heads == [
        "# Plain", "## IoU per class, %, on the validation images", "## Training",
    ]  # fmt: skip
    assert "None" not in text and "untrained" not in text and "onnxruntime" not in text
    assert not (tmp_path / "predictions.jpg").exists()


def test_a_dataset_that_may_not_be_passed_on_shows_predictions_alone(run, tmp_path) -> None:
    sample = run.samples[0]
    small = replace(
        sample,
        **{name: getattr(sample, name)[:10, :15] for name in ("truth", "predicted", "exported")},
        image=np.ascontiguousarray(sample.image[:10, :15]),
    )
    run = replace(run, samples=[sample, small])
    text = write_markdown_report(run, tmp_path, maps_only=True).read_text(encoding="utf-8")
    assert "From left to right: torch, onnxruntime." in text
    sheet = cv2.imread(str(tmp_path / "predictions.jpg"))
    assert sheet.shape == (30, 60, 3)
    assert (sheet[28:, 50:] > 240).all(), "white beside the smaller one"
