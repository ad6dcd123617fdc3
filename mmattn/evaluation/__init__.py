"""Metrics that keep their results per class, as drop-ins for those of mmdet and mmseg."""

from __future__ import annotations

from mmattn.lazy import lazy_attributes

__getattr__, __dir__, __all__ = lazy_attributes(
    __name__,
    {
        "ABSENT": "class_table",
        "ClassTable": "class_table",
        "ClasswiseCocoMetric": "detection.classwise_coco",
        "ClasswisePanopticMetric": "panoptic.classwise_panoptic",
        "ClasswiseVOCMetric": "detection.classwise_voc",
        "ClasswiseIoUMetric": "semantic.classwise_iou",
        "ClasswiseSemSegMetric": "semantic.classwise_semseg",
        "HasAreas": "protocols",
        "HasClassTables": "protocols",
        "HasDetectionNumbers": "protocols",
        "HasMatches": "protocols",
        "HasPanopticNumbers": "protocols",
        "SavesPlots": "protocols",
    },
)
