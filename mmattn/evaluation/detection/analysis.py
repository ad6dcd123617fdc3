"""All numbers of an evaluation, put together from the matches and COCO's precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mmattn.evaluation.class_table import ClassTable
from mmattn.reports.detection.numbers import DetectionNumbers, WorstImage

from .average_precision import RECALLS, precision_curves
from .confidence import ConfidenceCurves, means_at
from .confusion import confusion_matrix
from .error_types import split_errors
from .matching import Matches
from .sizes import SIZE_EDGES, count_sizes

#: Column of the table -> COCO's name of the average precision.
AP_COLUMNS = {
    "AP50": "mAP_50",
    "AP": "mAP",
    "AP75": "mAP_75",
    "APs": "mAP_s",
    "APm": "mAP_m",
    "APl": "mAP_l",
}
#: Columns that count; their last row is a total, that of the others a mean.
COUNTS = ("images", "objects")
COLUMNS = (*COUNTS, "P", "R", *AP_COLUMNS)


def analyse(
    matches: Matches,
    curves: ConfidenceCurves,
    *,
    iou_type: str,
    classes: Sequence[str],
    class_precisions: Mapping[str, np.ndarray],
    overall: Mapping[str, float],
    worst: Sequence[WorstImage] = (),
    best_images: Sequence[WorstImage] = (),
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> DetectionNumbers:
    """Compute what is plotted and tabled.

    Args:
        matches: Matches of the dataset.
        curves: Curves over the confidence, from ``matches``.
        iou_type: ``bbox``, ``segm`` or ``boundary``.
        classes: Names of the classes, in the order of the matches' class indices.
        class_precisions: Name of an average precision (values of ``AP_COLUMNS``) -> (K,), as the
            evaluator computes it; nan for a class without such an object.
        overall: Name of an average precision -> its mean over classes; nan likewise.
        worst: The worst images.
        best_images: The best images.
        intervals: Name of a score -> ends of its interval.
    """
    best = curves.best
    confidence = float(curves.confidences[best])
    positives = matches.positives
    columns = [
        matches.images_with,
        positives,
        curves.precision[:, best],
        curves.recall[:, best],
        *(np.asarray(class_precisions[name], float) for name in AP_COLUMNS.values()),
    ]
    errors = split_errors(matches)
    return DetectionNumbers(
        iou_type=iou_type,
        classes=tuple(classes),
        num_images=len(matches.image_ids),
        confidence=confidence,
        columns=COLUMNS,
        table=np.stack(columns, axis=1).astype(np.float64),
        overall=np.array(
            [
                len(np.unique(matches.obj_image)),
                positives.sum(),
                *means_at(curves, best),
                *(overall[name] for name in AP_COLUMNS.values()),
            ],
            np.float64,
        ),
        recalls=RECALLS,
        precision=precision_curves(matches),
        confidences=curves.confidences,
        f1=curves.f1,
        confusion=confusion_matrix(matches, confidence),
        size_edges=SIZE_EDGES,
        sizes=count_sizes(matches, confidence),
        errors={name: (errors.counts[name], errors.gains[name]) for name in errors.counts},
        false_positives=errors.false_positives,
        false_negatives=errors.false_negatives,
        worst=tuple(worst),
        best=tuple(best_images),
        intervals=dict(intervals or {}),
    )


def class_table(numbers: DetectionNumbers) -> ClassTable:
    """Build the table per class; its title says at which confidence P and R are."""
    return ClassTable(
        title=(
            f"{numbers.iou_type} average precision, on {numbers.num_images} "
            f"image{'' if numbers.num_images == 1 else 's'}; P and R at IoU 0.5 and confidence "
            f"{numbers.confidence:.3f} (best mean F1)"
        ),
        columns=numbers.columns,
        rows=dict(zip(numbers.classes, numbers.table.tolist(), strict=True)),
        mean=numbers.overall.tolist(),
        absent=numbers.absent,
        digits=3,
        counts=frozenset(COUNTS),
        summary="all",
    )


def interval_table(
    iou_type: str, classes: Sequence[str], intervals: Mapping[str, np.ndarray]
) -> ClassTable:
    """Build the table of the intervals of ``ap_intervals``."""
    ends = ("low", "high")
    columns = {
        f"{name}_{end}": (intervals[name][place], float(intervals[mean][place]))
        for name, mean in (("AP50", "mAP_50"), ("AP", "mAP"))
        for place, end in enumerate(ends)
    }
    values = np.stack([per_class for per_class, _ in columns.values()], axis=1)
    return ClassTable(
        title=f"{iou_type} 95 % intervals over images",
        columns=tuple(name.replace("_", " ") for name in columns),
        rows=dict(zip(classes, values.tolist(), strict=True)),
        mean=[mean for _, mean in columns.values()],
        absent=frozenset(c for c, row in zip(classes, values, strict=True) if np.isnan(row).all()),
        digits=3,
    )
