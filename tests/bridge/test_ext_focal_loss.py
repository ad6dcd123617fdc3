"""Sigmoid and softmax focal loss of mmcv against the definition, number by number."""

from __future__ import annotations

import math

import mmcv.ops
import pytest
import torch
from torch.autograd import gradcheck

CLASSES = 4
TARGET = torch.tensor([0, 3, 4, 1, 1, 2])  # 4 is background
WEIGHT = torch.tensor([0.5, 2.0, 1.5, 0.25], dtype=torch.float64)


def _logits() -> torch.Tensor:
    return (torch.randn(6, CLASSES, dtype=torch.float64) * 3).requires_grad_()


@pytest.mark.parametrize("gamma", [2.0, 0.5])
@pytest.mark.parametrize("weighted", [False, True])
def test_sigmoid_focal_loss_follows_its_definition(weighted, gamma):
    logits, weight = _logits(), WEIGHT if weighted else None
    loss = mmcv.ops.sigmoid_focal_loss(logits, TARGET, gamma, 0.3, weight, "none")
    expected = torch.zeros_like(loss)
    for n, target in enumerate(TARGET.tolist()):
        factor = WEIGHT[target].item() if weighted and target < CLASSES else 1.0
        for c in range(CLASSES):
            p = 1 / (1 + math.exp(-logits[n, c].item()))
            if c == target:
                value = -0.3 * (1 - p) ** gamma * math.log(p)
            else:
                value = -0.7 * p**gamma * math.log(1 - p)
            expected[n, c] = factor * value
    torch.testing.assert_close(loss, expected)
    # mmcv's backward broadcasts the incoming gradient of "sum" and "mean", one number each.
    for reduction in ("sum", "mean"):
        assert gradcheck(
            lambda x, how: mmcv.ops.sigmoid_focal_loss(x, TARGET, gamma, 0.3, weight, how),
            (logits, reduction),
        )
    mean = mmcv.ops.SigmoidFocalLoss(gamma, 0.3, weight)(logits, TARGET)
    torch.testing.assert_close(mean, expected.sum() / 6)


def test_sigmoid_focal_loss_of_far_logits_stays_true():
    logits = torch.tensor([[-200.0, 200.0]], requires_grad=True)
    loss = mmcv.ops.sigmoid_focal_loss(logits, torch.tensor([0]), 2.0, 0.25, None, "none")
    torch.testing.assert_close(loss, torch.tensor([[0.25 * 200, 0.75 * 200]]))
    (grad,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(grad, torch.tensor([[-0.25, 0.75]]))


@pytest.mark.parametrize("gamma", [2.0, 0.5])
@pytest.mark.parametrize("weighted", [False, True])
def test_softmax_focal_loss_follows_its_definition(weighted, gamma):
    logits, weight = _logits(), WEIGHT if weighted else None
    target = torch.tensor([0, 3, -1, 1, 1, 2])  # -1 is ignored
    loss = mmcv.ops.softmax_focal_loss(logits, target, gamma, 0.3, weight, "none")
    expected = torch.zeros_like(loss)
    for n, label in enumerate(target.tolist()):
        if label >= 0:
            powers = [math.exp(value) for value in logits[n].tolist()]
            p = powers[label] / sum(powers)
            factor = WEIGHT[label].item() if weighted else 1.0
            expected[n] = -factor * 0.3 * (1 - p) ** gamma * math.log(p)
    torch.testing.assert_close(loss, expected)
    assert gradcheck(
        lambda x: mmcv.ops.softmax_focal_loss(x, target, gamma, 0.3, weight, "sum"), logits
    )
    mean = mmcv.ops.SoftmaxFocalLoss(gamma, 0.3, weight)(logits, target)
    torch.testing.assert_close(mean, expected.sum() / 6)


def test_softmax_focal_loss_of_a_certain_prediction_has_no_gradient():
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = mmcv.ops.softmax_focal_loss(logits, torch.tensor([0]), 0.5, 0.25, None, "sum")
    (grad,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0 and not grad.any()


@pytest.mark.parametrize("name", ["sigmoid_focal_loss", "softmax_focal_loss"])
def test_no_samples(name):
    logits = torch.zeros(0, CLASSES, requires_grad=True)
    target = torch.zeros(0, dtype=torch.long)
    loss = getattr(mmcv.ops, name)(logits, target, 2.0, 0.25, None, "sum")
    loss.backward()
    assert loss.item() == 0 and logits.grad.shape == (0, CLASSES)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precisions_round_once(dtype):
    logits = _logits().detach().to(dtype).requires_grad_()
    exact = logits.detach().float().requires_grad_()
    losses = [
        mmcv.ops.sigmoid_focal_loss(x, TARGET, 2.0, 0.25, None, "none") for x in (logits, exact)
    ]
    assert torch.equal(losses[0], losses[1].to(dtype))
