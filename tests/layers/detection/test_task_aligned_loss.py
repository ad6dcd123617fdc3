"""The loss equals its formula written out, stays finite in half precision, and scales as said."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from mmattn.layers.detection import (
    TaskAlignedLoss,
    anchor_points,
    complete_iou,
    decode_boxes,
    distribution_focal_loss,
)
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


@pytest.mark.parametrize("seed", range(4))
def test_the_gradients_equal_those_of_joined_maps(seed: int) -> None:
    """What is computed at assigned points alone, against all points with targets of 0."""
    cls_scores, box_logits, gt_boxes, labels, valid = batch(seed)
    maps = [level.requires_grad_() for level in (*cls_scores, *box_logits)]
    module = loss()
    points, strides = anchor_points(SHAPES, STRIDES, dtype=torch.float64)
    logits = torch.cat([level.flatten(2) for level in cls_scores], 2)
    sides = torch.cat([level.flatten(2) for level in box_logits], 2).transpose(1, 2)
    boxes = decode_boxes(sides, points, strides, BINS)
    found = module.assigner(logits.detach(), boxes.detach(), points, gt_boxes, labels, valid)
    image, anchor, target = found.image, found.anchor, found.target
    wanted_scores = torch.zeros_like(logits)
    wanted_scores[image, labels[image, found.box], anchor] = target
    wanted = gt_boxes[image, found.box]
    distances = torch.cat((points[anchor] - wanted[:, :2], wanted[:, 2:] - points[anchor]), 1)
    dfl = distribution_focal_loss(
        sides[image, anchor].unflatten(1, (4, BINS)), distances / strides[anchor, None]
    )
    joined = {
        "loss_cls": 0.5
        * F.binary_cross_entropy_with_logits(logits, wanted_scores, reduction="sum"),
        "loss_bbox": 7.5 * ((1 - complete_iou(boxes[image, anchor], wanted)) * target).sum(),
        "loss_dfl": 1.5 * (dfl.mean(1) * target).sum(),
    }
    scale = len(gt_boxes) / target.sum().clamp(min=1)
    for name, value in module(cls_scores, box_logits, gt_boxes, labels, valid).items():
        own = maps[:2] if name == "loss_cls" else maps[2:]
        torch.testing.assert_close(value, joined[name] * scale)
        expected = torch.autograd.grad(joined[name] * scale, own, retain_graph=True)
        got = torch.autograd.grad(value, own, retain_graph=True)
        assert sum(float(gradient.abs().sum()) for gradient in got) > 0
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("boxes", [0, 3])
def test_a_batch_without_boxes_learns_background_alone(boxes: int) -> None:
    cls_scores, box_logits, gt_boxes, labels, valid = batch(3, boxes=boxes)
    maps = [level.requires_grad_() for level in (*cls_scores, *box_logits)]
    losses = loss()(maps[:2], maps[2:], gt_boxes, labels, torch.zeros_like(valid))
    assert losses["loss_bbox"] == losses["loss_dfl"] == 0
    assert losses["loss_cls"] > 0
    # Every map has a gradient, or distributed training would wait for it.
    gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), maps)
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
    maps = [level for levels in half for level in levels]
    for gradient in torch.autograd.grad(torch.stack(list(losses.values())).sum(), maps):
        assert torch.isfinite(gradient).all()


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


def test_maps_that_are_trained_find_the_boxes() -> None:
    """Gradient descent on the maps themselves, from nothing: classes, boxes, and background."""
    strides, shapes = (8, 16), [(12, 12), (6, 6)]
    gt_boxes = torch.tensor([[[10.0, 12, 50, 44], [40, 50, 92, 90], [60, 6, 76, 30]]])
    labels = torch.tensor([[0, 1, 2]])
    maps = [torch.full((1, CLASSES, *shape), -3.0, requires_grad=True) for shape in shapes]
    maps += [torch.zeros(1, 64, *shape, requires_grad=True) for shape in shapes]
    module = TaskAlignedLoss(CLASSES, strides)
    optimizer = torch.optim.Adam(maps, lr=0.2)
    for _ in range(150):
        optimizer.zero_grad()
        losses = module(maps[:2], maps[2:], gt_boxes, labels, torch.ones_like(labels).bool())
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    points, steps = anchor_points(shapes, strides)
    scores = torch.cat([level.detach().flatten(2) for level in maps[:2]], 2)[0].sigmoid()
    sides = torch.cat([level.detach().flatten(2) for level in maps[2:]], 2)[0].t()
    boxes = decode_boxes(sides, points, steps, 16)
    for box, label in zip(gt_boxes[0], labels[0], strict=True):
        best = scores[label].argmax()
        assert scores[label, best] > 0.8
        assert complete_iou(boxes[best], box) > 0.9
    outside = ((points[:, None] < gt_boxes[0, :, :2]) | (points[:, None] > gt_boxes[0, :, 2:])).any(
        2
    )
    assert scores[:, outside.all(1)].max() < 0.1
