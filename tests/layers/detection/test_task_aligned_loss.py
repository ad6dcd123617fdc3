"""The loss equals its formula written out, stays finite in half precision, and scales as said."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from mmattn.layers.detection import TaskAlignedLoss, anchor_points
from tests.support.plain_assigner import plain_assign, plain_complete_iou

STRIDES, SHAPES, CLASSES, BINS = (8, 16), [(6, 8), (3, 4)], 3, 6
Inputs = tuple[list[Tensor], list[Tensor], Tensor, Tensor, Tensor]


def batch(seed: int = 0, images: int = 2, boxes: int = 4) -> Inputs:
    random = torch.Generator().manual_seed(seed)

    def maps(channels: int) -> list[Tensor]:
        return [
            torch.randn(images, channels, *shape, generator=random, dtype=torch.float64)
            for shape in SHAPES
        ]

    corners = torch.rand(images, boxes, 2, 2, generator=random, dtype=torch.float64) * 48
    gt_boxes = torch.cat((corners.amin(2), corners.amax(2)), dim=2)
    labels = torch.randint(0, CLASSES, (images, boxes), generator=random)
    valid = torch.ones(images, boxes, dtype=torch.bool)
    valid[:, 2:] = torch.rand(images, max(boxes - 2, 0), generator=random) < 0.7
    return maps(CLASSES), maps(4 * BINS), gt_boxes, labels, valid


def loss(**options: float) -> TaskAlignedLoss:
    return TaskAlignedLoss(CLASSES, STRIDES, reg_max=BINS, **options)  # pyright: ignore[reportArgumentType]


def plain_loss(inputs: Inputs, scale: float) -> dict[str, float]:
    """The three losses, point by point, in float64."""
    cls_scores, box_logits, gt_boxes, gt_labels, gt_valid = inputs
    points, strides = anchor_points(SHAPES, STRIDES, dtype=torch.float64)
    logits = torch.cat([level.flatten(2) for level in cls_scores], 2).transpose(1, 2)
    sides = torch.cat([level.flatten(2) for level in box_logits], 2).transpose(1, 2)
    sums, total = {"loss_cls": 0.0, "loss_bbox": 0.0, "loss_dfl": 0.0}, 0.0
    for image in range(len(gt_boxes)):
        boxes = []
        for a, (x, y) in enumerate(points.tolist()):
            left, top, right, bottom = (
                sum(i * p for i, p in enumerate(side.softmax(0).tolist())) * strides[a].item()
                for side in sides[image, a].reshape(4, BINS)
            )
            boxes.append([x - left, y - top, x + right, y + bottom])
        kept = gt_valid[image].nonzero()[:, 0].tolist()
        gt = [(gt_boxes[image, g].tolist(), int(gt_labels[image, g])) for g in kept]
        found = plain_assign(logits[image].tolist(), boxes, points.tolist(), gt)
        wanted = torch.zeros_like(logits[image])
        for a, (g, target) in found.items():
            box, label = gt[g]
            wanted[a, label] = target
            total += target
            sums["loss_bbox"] += target * (1 - plain_complete_iou(boxes[a], box))
            x, y = points[a].tolist()
            for k, d in enumerate((x - box[0], y - box[1], box[2] - x, box[3] - y)):
                distance = min(d / strides[a].item(), BINS - 1.01)
                low = math.floor(distance)
                cost = -sides[image, a].reshape(4, BINS)[k].log_softmax(0)
                both = cost[low] * (low + 1 - distance) + cost[low + 1] * (distance - low)
                sums["loss_dfl"] += target * both.item() / 4
        sums["loss_cls"] += F.binary_cross_entropy_with_logits(
            logits[image], wanted, reduction="sum"
        ).item()
    gains = {"loss_cls": 0.5, "loss_bbox": 7.5, "loss_dfl": 1.5}
    return {name: gains[name] * value / max(total, 1) * scale for name, value in sums.items()}


@pytest.mark.parametrize("seed", range(8))
def test_random_batches_equal_the_formula(seed: int) -> None:
    inputs = batch(seed)
    for scaled, scale in ((True, len(inputs[2])), (False, 1)):
        got = loss(scale_by_batch=scaled)(*inputs)
        expected = plain_loss(inputs, scale)
        assert expected["loss_bbox"] > 0
        assert {name: value.item() for name, value in got.items()} == pytest.approx(expected)


def test_each_gain_scales_its_loss() -> None:
    inputs = batch()
    one, other = loss()(*inputs), loss(box_gain=15.0, cls_gain=2.0, dfl_gain=0.0)(*inputs)
    torch.testing.assert_close(other["loss_bbox"], 2 * one["loss_bbox"])
    torch.testing.assert_close(other["loss_cls"], 4 * one["loss_cls"])
    assert other["loss_dfl"] == 0


def test_the_gradient_is_that_of_the_loss() -> None:
    cls_scores, box_logits, *targets = batch(1)
    maps = [level.requires_grad_() for level in (*cls_scores, *box_logits)]

    def classes_and_bins(*levels: Tensor) -> Tensor:
        losses = loss()(levels[:2], levels[2:], *targets)
        # Not loss_bbox, whose weight alpha is held fixed; and no targets that follow predictions.
        return losses["loss_dfl"]

    first = torch.autograd.grad(classes_and_bins(*maps), maps, allow_unused=True)
    assert first[2] is not None
    total = sum(loss()(cls_scores, box_logits, *targets).values())
    for level, gradient in zip(maps, torch.autograd.grad(total, maps), strict=True):
        assert gradient.shape == level.shape
        assert gradient.abs().sum() > 0


def test_the_class_gradient_is_score_minus_target() -> None:
    cls_scores, box_logits, *targets = batch(2)
    maps = [level.requires_grad_() for level in cls_scores]
    module = loss(cls_gain=1.0, scale_by_batch=False)
    value = module(maps, box_logits, *targets)["loss_cls"]
    gradients = torch.autograd.grad(value, maps)
    points, strides = anchor_points(SHAPES, STRIDES, dtype=torch.float64)
    found = module.assigner(
        [level.detach().flatten(2) for level in maps],
        module._all_boxes([level.flatten(2) for level in box_logits], points, strides),
        points,
        *targets,
    )
    wanted = torch.zeros(2, CLASSES, len(points), dtype=torch.float64)
    wanted[found.image, targets[1][found.image, found.box], found.anchor] = found.target
    scores = torch.cat([level.flatten(2) for level in maps], 2).sigmoid()
    torch.testing.assert_close(
        torch.cat([gradient.flatten(2) for gradient in gradients], 2),
        (scores - wanted) / found.target.sum().clamp(min=1),
    )


@pytest.mark.parametrize("boxes", [0, 3])
def test_a_batch_without_boxes_learns_background_alone(boxes: int) -> None:
    cls_scores, box_logits, gt_boxes, labels, valid = batch(3, boxes=boxes)
    maps = [level.requires_grad_() for level in (*cls_scores, *box_logits)]
    losses = loss()(maps[:2], maps[2:], gt_boxes, labels, torch.zeros_like(valid))
    assert losses["loss_bbox"] == losses["loss_dfl"] == 0
    assert losses["loss_cls"] > 0
    # Every map has a gradient, or distributed training would wait for it.
    gradients = torch.autograd.grad(sum(losses.values()), maps)
    assert all(gradient.abs().sum() > 0 for gradient in gradients[:2])
    assert all(gradient.abs().sum() == 0 for gradient in gradients[2:])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [1.0, 6e4])
def test_half_precision_and_large_activations_give_finite_losses(
    dtype: torch.dtype, size: float
) -> None:
    cls_scores, box_logits, gt_boxes, labels, valid = batch(4)
    half = [[(size * level).clamp(-6e4, 6e4).to(dtype) for level in levels]
            for levels in (cls_scores, box_logits)]  # fmt: skip
    for levels in half:
        for level in levels:
            level.requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        losses = loss()(*half, gt_boxes.float(), labels, valid)
    full = loss()(*[[level.detach().float() for level in levels] for levels in half],
                  gt_boxes.float(), labels, valid)  # fmt: skip
    for name, value in losses.items():
        assert value.dtype == torch.float32
        assert torch.isfinite(value)
        torch.testing.assert_close(value, full[name])
    sum(losses.values()).backward()  # pyright: ignore[reportAttributeAccessIssue]
    assert all(torch.isfinite(level.grad).all() for levels in half for level in levels)


def test_channels_last_maps_give_the_same() -> None:
    cls_scores, box_logits, *targets = batch(5)
    last = [[level.contiguous(memory_format=torch.channels_last) for level in levels]
            for levels in (cls_scores, box_logits)]  # fmt: skip
    expected = loss()(cls_scores, box_logits, *targets)
    for name, value in loss()(*last, *targets).items():
        torch.testing.assert_close(value, expected[name])


def test_the_loss_counts_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = batch(6)
    alone = loss()(*inputs)
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 4)
    for name, value in loss()(*inputs).items():
        torch.testing.assert_close(value, 4 * alone[name])
    fixed = loss(scale_by_batch=False)(*inputs)
    torch.testing.assert_close(fixed["loss_cls"] * 2, alone["loss_cls"])


def test_maps_that_do_not_fit_are_named() -> None:
    cls_scores, box_logits, *targets = batch(7)
    with pytest.raises(ValueError, match=r"strides \(8, 16\) need as many maps, got 1 of classes"):
        loss()(cls_scores[:1], box_logits, *targets)
    with pytest.raises(ValueError, match="num_classes=3 needs as many channels"):
        loss()([level[:, :2] for level in cls_scores], box_logits, *targets)
    with pytest.raises(ValueError, match="reg_max=6 needs box logits of shape"):
        loss()(cls_scores, box_logits[::-1], *targets)


@pytest.mark.parametrize("options", [{"reg_max": 1}, {"topk": 0}, {"num_classes": 0}])
def test_arguments_out_of_range_are_named(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        TaskAlignedLoss(**{"num_classes": 3, "strides": (8,), **options})  # pyright: ignore[reportArgumentType]
