"""The data of a report on one detection or instance segmentation run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmattn.reports.curves import Curve
from mmattn.reports.run import Run

from .numbers import DetectionNumbers


@dataclass(kw_only=True)
class DetectionRun(Run):
    """The data of a report. All fields but ``title`` and ``numbers`` may be left out.

    Attributes:
        numbers: ``bbox`` or ``segm`` -> numbers of the evaluation.
    """

    numbers: Mapping[str, DetectionNumbers]


def shown(value: float, column: str, counts: tuple[str, ...] = ("images", "objects")) -> str:
    """Format a value of the table: counts as they are, fractions in percent, nan as a dash."""
    if value != value:
        return "-"
    return f"{value:.0f}" if column in counts else f"{100 * value:.1f}"


def table_rows(numbers: DetectionNumbers) -> list[list[str]]:
    """Return the cells of the table per class, all classes together last."""
    rows = zip((*numbers.classes, "all"), (*numbers.table, numbers.overall), strict=True)
    return [
        [name, *(shown(value, column) for column, value in zip(numbers.columns, row, strict=True))]
        for name, row in rows
    ]


def table_note(numbers: DetectionNumbers) -> str:
    """Say what the table holds: units, threshold, confidence, intervals."""
    text = (
        "In percent. P (precision) and R (recall) are at IoU 0.5 and confidence "
        f"{numbers.confidence:.3f}, that of the best mean F1; AP is COCO's, the mean over the IoU "
        "thresholds."
    )
    names = {"mAP_50": "AP50", "mAP": "AP"}
    for name, (low, high) in numbers.intervals.items():
        if low == low:
            title = names.get(name, name)
            text += f" 95 % interval of {title} over images: {100 * low:.1f} to {100 * high:.1f}."
    return text


def validation_curves(validation: Mapping[str, Curve]) -> dict[str, Curve]:
    """Choose the curves of AP and AP50 and give them names without mmengine's prefix."""
    chosen: dict[str, Curve] = {}
    for name, curve in validation.items():
        short = name.rpartition("/")[2]
        if short.endswith(("_mAP", "_mAP_50")):
            chosen[short] = curve
    return chosen
