"""Semantic segmentation: a class for every pixel."""

from __future__ import annotations

from dataclasses import replace

from .task import Task, TaskReport, TestTimeAugmentation

#: As mmseg does it, and ``mmattn`` with it.
SEMANTIC = Task(
    name="semantic segmentation",
    scope="mmseg",
    heads=(
        r"(?:decode|auxiliary)_head(?:\[\d+\])?"
        r"(?:\.kernel_(?:update|generate)_head(?:\[\d+\])?)?",
    ),
    heads_of_other_counts=("STDCHead",),  # tells edges from the rest
    metrics={("mmseg", "IoUMetric"): "mmattn.ClasswiseIoUMetric"},
    default_metric="mIoU",
    annotation_loaders=("LoadAnnotations", "LoadFolderMask"),
    target_steps=("GenerateEdge", "GenerateEdgeMap"),
    folder_dataset="mmattn.FolderSegDataset",
    folder_loader="mmattn.LoadFolderMask",
    prediction="pred_sem_seg",
    visualizer="SegLocalVisualizer",
    visualization_hook="SegVisualizationHook",
    show_dir=("visualizer", "save_dir"),
    dump_metric="mmengine.DumpResults",
    label_map_metrics={
        "IoUMetric": {},
        "ClasswiseIoUMetric": {},
        "CityscapesMetric": {"keep_results": True},
    },
    tta=TestTimeAugmentation(
        model={"type": "mmattn.SegTTAModel"}, pack="PackSegInputs", annotations_per_copy=True
    ),
    training_only=("auxiliary_head.",),
    # A head that predicts by queries has a pixel decoder, where blocks work as in a neck.
    insertable_parts=("backbone", "neck", "decode_head"),
    compilable_parts=("backbone", "neck", "decode_head"),
    report=TaskReport(
        "mmattn.export.measurement", "mmattn.reports.semantic", exported="exported_file"
    ),
)

#: As mmdet does it (``SemSegMetric``, X-Decoder). Own folders and test-time augmentation are not
#: available for it.
SEMANTIC_IN_MMDET = replace(
    SEMANTIC,
    scope="mmdet",
    heads=(r"semantic_head",),
    heads_of_other_counts=(),
    metrics={("mmdet", "SemSegMetric"): "mmattn.ClasswiseSemSegMetric"},
    target_steps=(),
    folder_dataset=None,
    folder_loader=None,
    visualizer="DetLocalVisualizer",
    visualization_hook="DetVisualizationHook",
    show_dir=("hook", "test_out_dir"),
    dump_metric="mmdet.DumpDetResults",
    label_map_metrics={"SemSegMetric": {}, "ClasswiseSemSegMetric": {}},
    tta=None,
    training_only=(),
    insertable_parts=("backbone", "neck"),
    compilable_parts=("backbone", "neck"),
    report=TaskReport("mmattn.engine.measurement.semantic", "mmattn.reports.semantic"),
)
