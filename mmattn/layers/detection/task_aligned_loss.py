"""Loss of a dense detector without anchor boxes: classes, boxes and their distributions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from mmattn.layers.checks import require_at_least
from mmattn.layers.detection.anchor_points import (
    anchor_points,
    boxes_from_distances,
    decode_boxes,
    expected_bins,
)
from mmattn.layers.detection.box_iou import complete_iou
from mmattn.layers.detection.distribution_focal_loss import distribution_focal_loss
from mmattn.layers.detection.levels import gather_levels
from mmattn.layers.detection.task_aligned_assigner import Assignment, TaskAlignedAssigner
from mmattn.ops import accumulate_dtype, autocast_off


class TaskAlignedLoss(nn.Module):
    """Assign boxes to points (:class:`TaskAlignedAssigner`), and compare predictions with them.

    With t_a the target score of an assigned point a and T = max(sum_a t_a, 1) of this process:
        loss_cls = cls_gain / T * sum over points and classes of BCE(score, t)
        loss_bbox = box_gain / T * sum_a t_a (1 - CIoU_a)
        loss_dfl = dfl_gain / T * sum_a t_a mean over the sides of DFL
    each times the images of this process and, as gradients are averaged over processes, times the
    number of processes: gradients grow with the batch, and learning rate and gradient clipping are
    to be chosen for that. No image is normalised by another process's targets.

    Args:
        num_classes: Classes, C.
        strides: Pixels per cell, per level.
        reg_max: Bins per side of a box.
        topk: Points per box at most.
        alpha: Exponent of the score in the assignment.
        beta: Exponent of the CIoU in the assignment.
        box_gain: Weight of ``loss_bbox``.
        cls_gain: Weight of ``loss_cls``.
        dfl_gain: Weight of ``loss_dfl``.
        scale_by_batch: Whether losses are multiplied by images and processes as said above.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        num_classes: int,
        strides: Sequence[int],
        reg_max: int = 16,
        topk: int = 10,
        alpha: float = 0.5,
        beta: float = 6.0,
        box_gain: float = 7.5,
        cls_gain: float = 0.5,
        dfl_gain: float = 1.5,
        scale_by_batch: bool = True,
    ) -> None:
        super().__init__()
        require_at_least(1, num_classes=num_classes, number_of_strides=len(strides))
        require_at_least(2, reg_max=reg_max)
        self.num_classes = num_classes
        self.strides = tuple(strides)
        self.reg_max = reg_max
        self.assigner = TaskAlignedAssigner(topk, alpha, beta)
        self.box_gain = box_gain
        self.cls_gain = cls_gain
        self.dfl_gain = dfl_gain
        self.scale_by_batch = scale_by_batch

    def forward(
        self,
        cls_scores: Sequence[Tensor],
        box_logits: Sequence[Tensor],
        gt_boxes: Tensor,
        gt_labels: Tensor,
        gt_valid: Tensor,
    ) -> dict[str, Tensor]:
        """Return the three losses, float32 at least and with a gradient for every map.

        Args:
            cls_scores: Logits per level, (N, C, H, W).
            box_logits: Logits per level, (N, 4 * reg_max, H, W).
            gt_boxes: (N, G, 4): x1, y1, x2, y2 in pixels of the network's input; G may be 0.
            gt_labels: (N, G) int64.
            gt_valid: (N, G) bool, False where a box is padding.

        Raises:
            ValueError: The maps do not fit the constructor's arguments or each other.
            DataError: A label is not below ``num_classes``.
        """
        self._check(cls_scores, box_logits)
        shapes = [(scores.shape[2], scores.shape[3]) for scores in cls_scores]
        with autocast_off(cls_scores[0].device.type):
            dtype = accumulate_dtype(cls_scores[0].dtype)
            points, strides = anchor_points(
                shapes, self.strides, device=cls_scores[0].device, dtype=dtype
            )
            classes = [scores.flatten(2) for scores in cls_scores]
            sides = [logits.flatten(2) for logits in box_logits]
            found = self.assigner(
                [scores.detach() for scores in classes],
                self._all_boxes(sides, points, strides),
                points,
                gt_boxes,
                gt_labels,
                gt_valid,
            )
            losses = self._losses(classes, sides, points, strides, gt_boxes, gt_labels, found)
            total = found.target.sum().clamp(min=1)
            scale = len(gt_boxes) * _world_size() if self.scale_by_batch else 1
            return {name: loss * (scale / total) for name, loss in losses.items()}

    def _losses(
        self,
        classes: list[Tensor],
        sides: list[Tensor],
        points: Tensor,
        strides: Tensor,
        gt_boxes: Tensor,
        gt_labels: Tensor,
        found: Assignment,
    ) -> dict[str, Tensor]:
        """Return the sums, times their gains, which are not yet normalised."""
        # BCE(x, t) = softplus(x) - x t, and t is 0 but at the assigned points.
        scores = gather_levels(
            classes, found.image, found.anchor, gt_labels[found.image, found.box]
        )
        target = found.target
        background = [
            F.softplus(level.to(accumulate_dtype(level.dtype))).sum() for level in classes
        ]
        bce = torch.stack(background).sum() - (scores.to(target.dtype) * target).sum()

        logits = gather_levels(sides, found.image, found.anchor)
        points, strides = points[found.anchor], strides[found.anchor]
        wanted = gt_boxes[found.image, found.box].to(points.dtype)
        overlap = complete_iou(decode_boxes(logits, points, strides, self.reg_max), wanted)
        distances = torch.cat((points - wanted[:, :2], wanted[:, 2:] - points), dim=1)
        dfl = distribution_focal_loss(
            logits.unflatten(1, (4, self.reg_max)), distances / strides[:, None]
        )
        return {
            "loss_cls": self.cls_gain * bce,
            "loss_bbox": self.box_gain * ((1 - overlap) * target).sum(),
            "loss_dfl": self.dfl_gain * (dfl.mean(1) * target).sum(),
        }

    @torch.no_grad()
    def _all_boxes(self, sides: list[Tensor], points: Tensor, strides: Tensor) -> Tensor:
        """Return the predicted boxes of all points, (N, A, 4)."""
        distances = [
            expected_bins(level.unflatten(1, (4, self.reg_max)), dim=2).transpose(1, 2)
            for level in sides
        ]
        return boxes_from_distances(torch.cat(distances, dim=1), points, strides)

    def _check(self, cls_scores: Sequence[Tensor], box_logits: Sequence[Tensor]) -> None:
        if not len(cls_scores) == len(box_logits) == len(self.strides):
            raise ValueError(
                f"strides {self.strides} need as many maps, got {len(cls_scores)} of classes and "
                f"{len(box_logits)} of boxes"
            )
        for scores, logits in zip(cls_scores, box_logits, strict=True):
            images, _, *size = scores.shape
            if scores.shape[1] != self.num_classes:
                raise ValueError(
                    f"num_classes={self.num_classes} needs as many channels, got a map of shape "
                    f"{tuple(scores.shape)}"
                )
            if tuple(logits.shape) != (images, 4 * self.reg_max, *size):
                raise ValueError(
                    f"reg_max={self.reg_max} needs box logits of shape "
                    f"{(images, 4 * self.reg_max, *size)}, got {tuple(logits.shape)}"
                )


def _world_size() -> int:
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1
