"""Object detection: a box and a class for every object, as mmdet does it."""

from __future__ import annotations

from .task import Task, TaskReport, TestTimeAugmentation

_UNDO = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "flip", "flip_direction")

DETECTION = Task(
    name="object detection",
    scope="mmdet",
    heads=(r"(?:roi_head\.)?(?:bbox|query)_head(?:\[\d+\])?",),
    metrics={
        ("mmdet", "CocoMetric"): "mmattn.ClasswiseCocoMetric",
        ("mmdet", "VOCMetric"): "mmattn.ClasswiseVOCMetric",
    },
    default_metric="bbox_mAP",
    other_metrics=("bbox_mAP_50",),
    annotation_loaders=("LoadAnnotations",),
    folder_dataset="mmattn.FolderDetDataset",
    folder_targets="boxes",
    prediction="pred_instances",
    visualizer="DetLocalVisualizer",
    visualization_hook="DetVisualizationHook",
    show_dir=("hook", "test_out_dir"),
    dump_metric="mmdet.DumpDetResults",
    tta=TestTimeAugmentation(
        # mmdet's own defaults for a config without tta_model.
        model={
            "type": "DetTTAModel",
            "tta_cfg": {"nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 100},
        },
        pack="PackDetInputs",
        pack_options={"meta_keys": _UNDO},
    ),
    compilable_parts=("backbone", "neck", "bbox_head"),
    report=TaskReport(
        "mmattn.engine.measurement.detection", "mmattn.reports.detection", exported="exported"
    ),
)
