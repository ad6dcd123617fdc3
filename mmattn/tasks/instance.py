"""Instance segmentation: a mask and a class for every object, as mmdet does it."""

from __future__ import annotations

from dataclasses import replace

from .detection import DETECTION
from .task import TaskReport

#: Test-time augmentation averages its boxes and leaves its masks out, as mmdet's own does.
INSTANCE = replace(
    DETECTION,
    name="instance segmentation",
    folder_targets="masks",
    # A head that predicts by queries has a pixel decoder, where blocks work as in a neck.
    insertable_parts=(*DETECTION.insertable_parts, "panoptic_head"),
    other_metrics=("bbox_mAP_50", "segm_mAP", "segm_mAP_50"),
    # Exported files predict boxes alone.
    report=TaskReport("mmattn.engine.measurement.detection", "mmattn.reports.detection"),
    heads=(*DETECTION.heads, r"(?:roi_head\.)?(?:mask|mask_iou|point)_head(?:\[\d+\])?"),
)
