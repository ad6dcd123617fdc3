"""The loss of a distribution is the cross entropy with the two bins around the target."""

from __future__ import annotations

import math

import pytest
import torch

from mmattn.layers.detection import distribution_focal_loss


def test_uniform_logits_cost_the_logarithm_of_the_bins() -> None:
    got = distribution_focal_loss(torch.zeros(3, 16), torch.tensor([0.0, 3.4, 14.0]))
    torch.testing.assert_close(got, torch.full((3,), math.log(16)))


def test_two_bins_share_the_loss_by_their_distance() -> None:
    probabilities = torch.tensor([0.1, 0.2, 0.3, 0.4])
    got = distribution_focal_loss(probabilities.log(), torch.tensor(1.25))
    expected = -(0.75 * math.log(0.2) + 0.25 * math.log(0.3))
    torch.testing.assert_close(got, torch.tensor(expected))


def test_the_best_distribution_has_the_target_as_its_mean() -> None:
    logits = torch.tensor([-50.0, math.log(0.75), math.log(0.25), -50.0], requires_grad=True)
    distribution_focal_loss(logits, torch.tensor(1.25)).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.zeros(4), atol=1e-7, rtol=0)


@pytest.mark.parametrize(("target", "used"), [(-3.0, 0.0), (15.0, 14.99), (400.0, 14.99)])
def test_targets_beyond_the_bins_are_clamped(target: float, used: float) -> None:
    logits = torch.randn(16, generator=torch.Generator().manual_seed(0))
    got = distribution_focal_loss(logits, torch.tensor(target))
    below = math.floor(used)
    log_probabilities = logits.log_softmax(0)
    expected = -log_probabilities[below] * (below + 1 - used)
    expected -= log_probabilities[below + 1] * (used - below)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits = torch.tensor([-6e4, 0, 6e4]).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = distribution_focal_loss(logits, torch.tensor(0.5))
    assert got.dtype == torch.float32
    assert math.isfinite(got.item())
