"""Training mathematics of dense detectors without anchor boxes: points, targets and losses."""

from mmattn.layers.detection.anchor_points import anchor_points, decode_boxes, expected_bins
from mmattn.layers.detection.box_iou import box_iou, complete_iou
from mmattn.layers.detection.distribution_focal_loss import distribution_focal_loss
from mmattn.layers.detection.task_aligned_assigner import Assignment, TaskAlignedAssigner
from mmattn.layers.detection.task_aligned_loss import TaskAlignedLoss

__all__ = [
    "Assignment",
    "TaskAlignedAssigner",
    "TaskAlignedLoss",
    "anchor_points",
    "box_iou",
    "complete_iou",
    "decode_boxes",
    "distribution_focal_loss",
    "expected_bins",
]
