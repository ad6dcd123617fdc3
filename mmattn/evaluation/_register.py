"""Registers the metrics of scope ``mmattn``; the registry imports this at its first look-up."""

from .detection import classwise_coco, classwise_voc  # noqa: F401
from .panoptic import classwise_panoptic  # noqa: F401
from .semantic import classwise_iou, classwise_semseg  # noqa: F401
