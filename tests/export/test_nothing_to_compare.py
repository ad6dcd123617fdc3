"""Promise: a check in which neither program found anything says so, and doesn't call it equal."""

from __future__ import annotations

import pytest

from mmattn.export.detection_accuracy import AccuracyPair
from mmattn.export.parity import ParityReport, ParityRow


def report(results: int | None) -> ParityReport:
    row = ParityRow("traced", 1, 64, 64, 4, None, 0.0, None, 1.0, results=results)
    return ParityReport("a.onnx", "onnxruntime", 1e-4, 0.999, False, rows=[row])


@pytest.mark.parametrize(("results", "said"), [(0, True), (2, False), (None, False)])
def test_no_detection_at_all_is_said(results: int | None, said: bool) -> None:
    text = report(results).table()
    assert ("nothing to compare: no detection in any image" in text) is said
    assert ("score_thr=" in text) is said


def test_a_precision_of_zero_on_both_sides_is_no_agreement() -> None:
    zero = {"mAP": 0.0, "mAP_50": 0.0}
    pair = AccuracyPair(5, zero, zero)
    assert pair.passed and not pair.compared
    text = pair.describe()
    assert "nothing to compare, mAP is 0" in text and "ok" not in text.split()


def test_other_precisions_are_compared() -> None:
    found, lost = {"mAP": 0.4, "mAP_50": 0.8}, {"mAP": 0.0, "mAP_50": 0.0}
    assert AccuracyPair(5, found, found).describe().endswith("ok")
    assert "FAILS" in AccuracyPair(5, found, lost).describe()
