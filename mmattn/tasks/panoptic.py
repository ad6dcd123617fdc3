"""Panoptic segmentation: a class for every pixel and, for things, an object, as mmdet does it."""

from __future__ import annotations

from dataclasses import replace

from .instance import INSTANCE
from .task import TaskReport

PANOPTIC = replace(
    INSTANCE,
    name="panoptic segmentation",
    folder_targets="panoptic",
    heads=(*INSTANCE.heads, r"(?:panoptic|panoptic_fusion|semantic)_head"),
    metrics={
        **INSTANCE.metrics,
        ("mmdet", "CocoPanopticMetric"): "mmattn.ClasswisePanopticMetric",
    },
    default_metric="PQ",
    other_metrics=("SQ", "RQ", "boundary_PQ", "mIoU"),
    annotation_loaders=("LoadPanopticAnnotations",),
    prediction="pred_panoptic_seg",
    label_map_metrics={"CocoPanopticMetric": {}, "ClasswisePanopticMetric": {}},
    label_map_option="outfile_prefix",
    tta=None,  # mmdet's averages boxes
    report=TaskReport("mmattn.engine.measurement.panoptic", "mmattn.reports.panoptic"),
)
