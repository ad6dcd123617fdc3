"""The calibration error is that of its definition, over all pixels of all images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mmattn.evaluation.semantic import calibration
from mmattn.evaluation.semantic.calibration import calibration_counts, expected_calibration_error


def by_definition(confidences: list[float], right: list[bool], bins: int) -> float:
    error = 0.0
    for m in range(1, bins + 1):
        inside = [i for i, c in enumerate(confidences) if (m - 1) / bins < c <= m / bins]
        if inside:
            accuracy = sum(right[i] for i in inside) / len(inside)
            confidence = sum(confidences[i] for i in inside) / len(inside)
            error += len(inside) / len(confidences) * abs(accuracy - confidence)
    return error


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_equals_the_definition(bins: int, monkeypatch) -> None:
    monkeypatch.setattr(calibration, "_CHUNK", 4 * 11 * 3)  # three rows at a time
    generator = torch.Generator().manual_seed(bins)
    counts, confidences, right = np.zeros((3, bins), np.int64), [], []
    for _ in range(3):
        logits = 3 * torch.randn(4, 8, 11, generator=generator)
        label = torch.randint(6, (8, 11), generator=generator) - 1  # -1 and 4: no class
        predicted = logits.argmax(0)
        counts += calibration_counts(logits, predicted, label, 4, bins)
        best = logits.double().softmax(0).amax(0)
        for c, p, t in zip(best.flatten(), predicted.flatten(), label.flatten(), strict=True):
            if 0 <= t < 4:
                confidences.append(c.item())
                right.append(bool(p == t))
    assert counts[0].sum() == len(right)
    assert counts[1].sum() == sum(right)
    error = expected_calibration_error(counts)
    assert error == pytest.approx(by_definition(confidences, right, bins), abs=1e-6)


def test_one_channel_is_the_probability_of_class_one() -> None:
    probability = torch.tensor([[[0.88, 0.75, 0.22]]])
    predicted, label = torch.tensor([[1, 1, 0]]), torch.tensor([[1, 0, 0]])
    counts = calibration_counts(probability, predicted, label, 2, 10)
    # Bins (0.7, 0.8] and (0.8, 0.9]; the pixel that is not class 1 has 1 - 0.22.
    assert counts[0].tolist() == [0] * 7 + [2, 1, 0]
    assert counts[1].tolist() == [0] * 7 + [1, 1, 0]
    expected = (abs(1 - 0.75 - 0.78) + abs(1 - 0.88)) / 3
    assert expected_calibration_error(counts) == pytest.approx(expected, abs=1e-6)


def test_logits_of_something_else_are_refused() -> None:
    logits = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="largest logit"):
        calibration_counts(logits, (logits.argmax(0) + 1) % 3, logits.argmax(0), 3, 10)


def test_one_channel_has_a_threshold_that_splits_the_classes() -> None:
    probability, label = torch.tensor([[[0.2, 0.4, 0.7]]]), torch.tensor([[0, 0, 1]])
    for accepted in ([0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 1, 1]):
        calibration_counts(probability, torch.tensor([accepted]), label, 2, 10)
    for refused in ([1, 0, 1], [0, 1, 0], [1, 1, 0]):
        with pytest.raises(ValueError, match="no threshold"):
            calibration_counts(probability, torch.tensor([refused]), label, 2, 10)


def test_no_pixel_is_no_error_known() -> None:
    assert math.isnan(expected_calibration_error(np.zeros((3, 5), np.int64)))
