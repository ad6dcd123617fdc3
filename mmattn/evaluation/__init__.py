"""Metrics whose results are kept per class, as drop-ins for those of mmdet and mmseg."""

from __future__ import annotations

from .class_table import ABSENT, ClassTable
from .detection.classwise_coco import ClasswiseCocoMetric
from .semantic.classwise_iou import ClasswiseIoUMetric

__all__ = ["ABSENT", "ClassTable", "ClasswiseCocoMetric", "ClasswiseIoUMetric"]
