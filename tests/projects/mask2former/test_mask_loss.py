"""Promise: losses have the values of their equations, and no batch breaks them."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mmattn.errors import ConfigError
from mmattn.projects.mask2former import Mask2FormerNetwork, MaskMatchingLoss, MaskPredictions
from mmattn.projects.mask2former.loss import point_losses
from mmattn.projects.mask2former.mask_bits import MaskBits
from mmattn.projects.mask2former.points import uncertain_logits_reference
from mmattn.projects.mask2former.targets import MaskTargets

SIZE = (32, 48)
CLASSES = 5


def network(**options: Any) -> Mask2FormerNetwork:
    torch.manual_seed(0)
    small = {"channels": 32, "num_queries": 6, "encoder_layers": 1, "decoder_layers": 3}
    return Mask2FormerNetwork([8, 12, 16, 20], CLASSES, **{**small, **options})


def features(scale: float = 1.0) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    shapes = [(SIZE[0] // stride, SIZE[1] // stride) for stride in (4, 8, 16, 32)]
    return [
        torch.randn(2, channels, *shape, generator=random) * scale
        for channels, shape in zip((8, 12, 16, 20), shapes, strict=True)
    ]


def targets(*counts: int) -> list[MaskTargets]:
    random = torch.Generator().manual_seed(1)
    return [
        MaskTargets(
            torch.randint(0, CLASSES, (count,), generator=random),
            MaskBits.of_tensor(torch.rand(count, *SIZE, generator=random) > 0.5, SIZE),
        )
        for count in counts
    ]


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack([loss for name, loss in losses.items() if "loss" in name]).sum()


def test_losses_of_a_constant_map() -> None:
    """Logit 0 against a mask over half of the points: BCE is ln 2, Dice from its equation."""
    points = 100
    masks = (torch.arange(points) < points // 2).float()
    bce, dice = point_losses(torch.zeros(1, points), masks[None])
    assert bce.item() == pytest.approx(math.log(2))
    inside = 0.5 * points
    assert dice.item() == pytest.approx(1 - (2 * 0.5 * inside + 1) / (inside + inside + 1))


def test_loss_of_a_perfect_prediction() -> None:
    """A mask of the left half, and the right class: only what points on the edge leave."""
    step = torch.where(torch.arange(12) < 6, 8.0, -8.0).expand(1, 1, 8, 12)
    classes = torch.full((1, 1, 2, CLASSES + 1), -20.0)
    classes[0, 0, 0, 3] = 20.0
    classes[0, 0, 1, CLASSES] = 20.0
    predictions = MaskPredictions(classes, torch.tensor([[[[1.0], [-1.0]]]]), step)
    left = (torch.arange(SIZE[1]) < SIZE[1] // 2).expand(1, *SIZE)
    target = MaskTargets(torch.tensor([3]), MaskBits.of_tensor(left, SIZE))
    losses = MaskMatchingLoss(CLASSES, importance_sample_ratio=0.0)(predictions, [target])
    assert losses["loss_cls"] < 1e-6
    assert losses["loss_mask"] < 0.5
    assert losses["loss_dice"] < 0.2
    assert set(losses) == {"loss_cls", "loss_mask", "loss_dice", "objects_without_query"}


def test_no_object_weighs_less() -> None:
    predictions = MaskPredictions(
        torch.randn(1, 1, 4, CLASSES + 1), torch.randn(1, 1, 4, 8), torch.randn(1, 8, 8, 12)
    )
    logits = predictions.class_logits[0, 0]
    (target,) = targets(1)
    loss = MaskMatchingLoss(CLASSES, num_points=100)
    torch.manual_seed(0)  # the points at which masks are compared, which come first in a step too
    query = int(loss.matcher(predictions, [target]).queries[0, 0])
    each = -logits.log_softmax(1)
    weights = torch.full((4,), 0.1).index_fill(0, torch.tensor([query]), 1.0)
    wanted = torch.full((4,), CLASSES).index_fill(0, torch.tensor([query]), int(target.labels))
    expected = 2 * (each[torch.arange(4), wanted] * weights).sum() / weights.sum()
    torch.manual_seed(0)
    torch.testing.assert_close(loss(predictions, [target])["loss_cls"], expected)


@pytest.mark.parametrize("counts", [(0, 0), (0, 3), (2, 9)])
def test_every_weight_gets_a_finite_gradient(counts: tuple[int, int]) -> None:
    """Also of images without objects, and with more of them than queries."""
    model = network()
    predictions = model.predict_masks(features(), every_layer=True)
    losses = MaskMatchingLoss(CLASSES, num_points=64)(predictions, targets(*counts))
    assert len(losses) == 3 * 4 + 1
    total(losses).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_gradients_are_those_of_whole_masks() -> None:
    gradients = []
    for function in (None, uncertain_logits_reference):
        model = network()
        predictions = model.predict_masks(features(), every_layer=True)
        loss = MaskMatchingLoss(CLASSES, num_points=64)
        loss.uncertain_logits = function or loss.uncertain_logits
        torch.manual_seed(3)
        total(loss(predictions, targets(2, 3))).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    largest = max(float(expected.norm()) for expected in gradients[1].values())
    for name, expected in gradients[1].items():
        error = (gradients[0][name] - expected).norm()
        assert error < 1e-3 * (expected.norm() + 0.1 * largest), name


def test_objects_without_query_are_counted_and_said(caplog) -> None:
    predictions = network().predict_masks(features(), every_layer=True)
    loss = MaskMatchingLoss(CLASSES, num_points=64)
    with caplog.at_level(logging.WARNING, logger="mmattn"):
        assert loss(predictions, targets(9, 2))["objects_without_query"] == 3
        assert "has 9 objects, and there are 6 queries: 3 objects were left out" in caplog.text
        caplog.clear()
        assert loss(predictions, targets(6, 6))["objects_without_query"] == 0
        assert not caplog.records
        loss(predictions, targets(9, 2))
        assert "6 objects were left out" in caplog.text


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [1.0, 400.0])
def test_autocast_is_finite(dtype: torch.dtype, scale: float) -> None:
    """Also with logits beyond what float16 holds."""
    model = network()
    with torch.no_grad():
        model.mask_embed[4].weight.mul_(scale)
        model.pixel_decoder.mask_feature.weight.mul_(scale)
    with torch.autocast("cpu", dtype):
        predictions = model.predict_masks(features(), every_layer=True)
        assert predictions.mask_features.dtype == torch.float32
        costs: list[Tensor] = []
        loss = MaskMatchingLoss(CLASSES, num_points=64)
        found = loss.matcher._costs
        loss.matcher._costs = lambda *args: costs.append(found(*args)) or costs[-1]
        losses = loss(predictions, targets(2, 3))
    assert all(cost.isfinite().all() and cost.abs().max() < 1e8 for cost in costs)
    for name, value in losses.items():
        assert value.isfinite(), name
        assert value.dtype == torch.float32
    if scale > 1:
        assert predictions.mask_logits().abs().max() > torch.finfo(torch.float16).max
        return  # gradients in float16 may overflow here, which a scaler finds
    total(losses).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_autocast_is_near_single_precision() -> None:
    model, loss = network(), MaskMatchingLoss(CLASSES, num_points=64)
    found = []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            predictions = model.predict_masks(features(), every_layer=True)
            found.append(total(loss(predictions, targets(2, 3))).item())
    assert found[1] == pytest.approx(found[0], rel=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {"importance_sample_ratio": 1.5},
        {"oversample_ratio": 0.5},
        {"no_object_weight": -0.1},
        {"dice_gain": -1.0},
    ],
)
def test_numbers_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        MaskMatchingLoss(CLASSES, **wrong)
