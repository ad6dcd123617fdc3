"""One training step of assignment and losses, forward and backward, from the network's maps on.

mmdet's contender is what a head of mmdet does: its ``TaskAlignedAssigner`` image by image, target
scores box by box as in ``TOODHead``, then ``CrossEntropyLoss`` and ``DistributionFocalLoss`` over
the batch, with positives decoded as in ``GFLHead``. So that both compute the same,
    * its assigner is given complete IoU for IoU, exponents 0.5 and 6, and no overlap where the
      point is outside the box: by itself it takes the best of all points first, then drops those
      outside, so that a box gets fewer than it could;
    * the box loss takes the same complete IoU: mmdet's ``CIoULoss`` leaves the shape out below an
      IoU of 0.5, other than the paper;
    * losses are normalised and multiplied as in ``TaskAlignedLoss``.
The results compared are the three losses and the gradients of all maps.
"""

from __future__ import annotations

from typing import Any

import torch
from ops_cases import Row
from torch import Tensor

from mmattn.layers.detection import (
    TaskAlignedLoss,
    anchor_points,
    complete_iou,
    decode_boxes,
)

STRIDES = (8, 16, 32)
BINS = 16
CLASSES = 80
GAINS = {"loss_cls": 0.5, "loss_bbox": 7.5, "loss_dfl": 1.5}


def rows(device: str) -> list[Row]:
    """Return cases of several batch sizes, and numbers of boxes in an image."""
    cases = [(16, 20, 2.0), (16, 100, None), (4, 20, None), (1, 20, None)]
    return [
        Row(
            "training loss",
            f"batch {images}, {boxes} boxes an image, 640 x 640, {CLASSES} classes",
            lambda images=images, boxes=boxes: contenders(device, images, boxes),
            goals={} if goal is None else {"mmdet": goal},
            tolerance=1e-4,
        )
        for images, boxes, goal in cases
    ]


def contenders(device: str, images: int, boxes: int, size: int = 640) -> dict:
    """Return the step of both, on predictions that partly know the boxes."""
    random = torch.Generator().manual_seed(0)
    gt_boxes = some_boxes(images, boxes, size, random)
    gt_labels = torch.randint(0, CLASSES, (images, boxes), generator=random)
    shapes = [(size // stride, size // stride) for stride in STRIDES]
    scores = [torch.randn(images, CLASSES, *shape, generator=random) * 1.5 - 4 for shape in shapes]
    sides = [
        torch.randn(images, 4 * BINS, *shape, generator=random)
        + hints(gt_boxes, shape, stride, random)
        for shape, stride in zip(shapes, STRIDES, strict=True)
    ]
    maps = [level.to(device).requires_grad_() for level in (*scores, *sides)]
    gt_boxes, gt_labels = gt_boxes.to(device), gt_labels.to(device)
    valid = torch.ones_like(gt_labels, dtype=torch.bool)
    loss = TaskAlignedLoss(CLASSES, STRIDES, reg_max=BINS)

    def ours() -> list[Tensor]:
        return step(loss(maps[:3], maps[3:], gt_boxes, gt_labels, valid), maps)

    theirs = MMDetLoss(shapes, device)

    def mmdet() -> list[Tensor]:
        return step(theirs(maps[:3], maps[3:], gt_boxes, gt_labels), maps)

    return {"mmattn": ours, "mmdet": mmdet}


def step(losses: dict[str, Tensor], maps: list[Tensor]) -> list[Tensor]:
    """Return the losses and the gradients of their sum."""
    gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), maps)
    return [*(losses[name].detach() for name in GAINS), *gradients]


def some_boxes(images: int, boxes: int, size: int, random: torch.Generator) -> Tensor:
    """Boxes from 10 pixels to the whole image, small ones more often, as in COCO."""
    side = 80 * torch.randn(images, boxes, 1, generator=random).mul(0.9).exp()
    shape = 2 ** (0.5 * torch.randn(images, boxes, 1, generator=random))
    sides = torch.cat((side * shape, side / shape), dim=2).clamp(10, size)
    low = torch.rand(images, boxes, 2, generator=random) * (size - sides)
    # Odd sixteenths: mmdet calls a point outside that is within 0.01 of a border, we one on it.
    return (torch.cat((low, low + sides), dim=2) * 8).floor() / 8 + 1 / 16


def hints(gt_boxes: Tensor, shape: tuple[int, int], stride: int, random: torch.Generator) -> Tensor:
    """Logits with a hill at the distances to the smallest box around every point."""
    points, _ = anchor_points([shape], [stride])
    low = points - gt_boxes[:, :, None, :2]
    high = gt_boxes[:, :, None, 2:] - points
    distances = torch.cat((low, high), dim=3) / stride  # (N, G, A, 4)
    inside = distances.amin(3) > 0
    area = torch.where(inside, distances[..., 0::2].sum(3) * distances[..., 1::2].sum(3), torch.inf)
    smallest = area.argmin(1, keepdim=True)[..., None].expand(-1, -1, -1, 4)
    wanted = distances.gather(1, smallest)[:, 0] + torch.randn(1, generator=random) * 0.3
    hill = -((torch.arange(BINS) - wanted[..., None]) ** 2)
    hill = torch.where(inside.any(1)[:, :, None, None], hill.clamp(min=-8), 0)
    return hill.flatten(2).transpose(1, 2).unflatten(2, shape)


class InsideCompleteIoU:
    """Complete IoU of predictions with boxes; 0 where a prediction's point is outside the box."""

    def __init__(self, points: Tensor) -> None:
        self.points = points

    def __call__(self, predicted: Tensor, boxes: Tensor) -> Tensor:
        overlap = complete_iou(predicted[:, None], boxes).clamp(min=0)
        low = self.points[:, None] - boxes[:, :2]
        high = boxes[:, 2:] - self.points[:, None]
        return overlap * (torch.cat((low, high), dim=2).amin(2) > 0.01)


class MMDetLoss:
    """The training step with mmdet's classes."""

    def __init__(self, shapes: list[tuple[int, int]], device: str) -> None:
        import mmattn  # noqa: F401  # isort: skip  (the bridge: mmdet imports mmcv's extension)
        from mmdet.models.losses import CrossEntropyLoss, DistributionFocalLoss
        from mmdet.models.task_modules import TaskAlignedAssigner

        self.points, self.strides = anchor_points(shapes, STRIDES, device=device)
        self.priors = torch.cat((self.points, self.points), dim=1)
        self.assigner = TaskAlignedAssigner(topk=10)
        self.assigner.iou_calculator = InsideCompleteIoU(self.points)
        self.cls_loss = CrossEntropyLoss(use_sigmoid=True, reduction="sum")
        self.dfl = DistributionFocalLoss(reduction="sum")

    def __call__(
        self,
        cls_scores: list[Tensor],
        box_logits: list[Tensor],
        gt_boxes: Tensor,
        gt_labels: Tensor,
    ) -> dict[str, Tensor]:
        logits = torch.cat([x.permute(0, 2, 3, 1).flatten(1, 2) for x in cls_scores], dim=1)
        sides = torch.cat([x.permute(0, 2, 3, 1).flatten(1, 2) for x in box_logits], dim=1)
        with torch.no_grad():
            boxes = decode_boxes(sides, self.points, self.strides, BINS)
            scores = logits.sigmoid()
            targets = [
                self.targets(*image)
                for image in zip(boxes, scores, gt_boxes, gt_labels, strict=True)
            ]
            wanted_scores, wanted_boxes, weights = map(torch.stack, zip(*targets, strict=True))
        total = weights.sum().clamp(min=1)
        positive = weights > 0
        points = self.points.expand(len(boxes), -1, -1)[positive]
        strides = self.strides.expand(len(boxes), -1)[positive]
        chosen, wanted, weight = sides[positive], wanted_boxes[positive], weights[positive]
        overlap = complete_iou(decode_boxes(chosen, points, strides, BINS), wanted)
        distances = torch.cat((points - wanted[:, :2], wanted[:, 2:] - points), dim=1)
        distances = (distances / strides[:, None]).clamp(0, BINS - 1.01)
        losses = {
            "loss_cls": self.cls_loss(logits.flatten(0, 1), wanted_scores.flatten(0, 1)),
            "loss_bbox": ((1 - overlap) * weight).sum(),
            "loss_dfl": self.dfl(
                chosen.reshape(-1, BINS), distances.reshape(-1), weight.repeat_interleave(4)
            )
            / 4,
        }
        return {name: GAINS[name] * x * len(boxes) / total for name, x in losses.items()}

    def targets(
        self, boxes: Tensor, scores: Tensor, gt_boxes: Tensor, gt_labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return target scores (A, C), boxes (A, 4) and weights (A,) of one image."""
        from mmengine.structures import InstanceData

        assigned: Any = self.assigner.assign(
            InstanceData(priors=self.priors, bboxes=boxes, scores=scores),
            InstanceData(bboxes=gt_boxes, labels=gt_labels),
            alpha=0.5,  # pyright: ignore[reportArgumentType]
            beta=6,
        )
        wanted_scores, wanted_boxes = torch.zeros_like(scores), torch.zeros_like(boxes)
        weights = scores.new_zeros(len(scores))
        for index in range(len(gt_boxes)):
            own = (assigned.gt_inds == index + 1).nonzero()[:, 0]
            if len(own) == 0:
                continue
            metric = assigned.assign_metrics[own]
            weights[own] = metric / metric.max() * assigned.max_overlaps[own].max()
            wanted_scores[own, gt_labels[index]] = weights[own]
            wanted_boxes[own] = gt_boxes[index]
        return wanted_scores, wanted_boxes, weights
