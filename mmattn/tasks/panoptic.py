"""Panoptic segmentation: a class for every pixel and, for things, an object, as mmdet does it."""

from __future__ import annotations

from dataclasses import replace

from .instance import INSTANCE

PANOPTIC = replace(
    INSTANCE,
    name="panoptic segmentation",
    folder_targets="panoptic",
    heads=(*INSTANCE.heads, r"(?:panoptic|panoptic_fusion|semantic)_head"),
    metric_options={
        (scope, name): {"classwise": True}
        for scope, name in (("mmdet", "CocoPanopticMetric"), ("mmattn", "FolderPanopticMetric"))
    },
    default_metric="PQ",
    other_metrics=("SQ", "RQ"),
    annotation_loaders=("LoadPanopticAnnotations",),
    prediction="pred_panoptic_seg",
    tta=None,  # mmdet's averages boxes
    report=None,  # panoptic quality is not plotted yet
)
