"""The data of a report on one panoptic segmentation run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mmattn.reports.curves import Curve
from mmattn.reports.detection.numbers import DetectionNumbers
from mmattn.reports.number_formats import table_cells
from mmattn.reports.run import Run

from .numbers import COUNTS, MEANINGS, PanopticNumbers


@dataclass(kw_only=True)
class PanopticRun(Run):
    """The data of a report. All fields but ``title`` and ``numbers`` may be left out.

    Attributes:
        numbers: Numbers of the evaluation.
        instances: ``segm`` or ``boundary`` -> numbers of the predicted instances.
    """

    numbers: PanopticNumbers
    instances: Mapping[str, DetectionNumbers] = field(default_factory=dict)


def table_rows(numbers: PanopticNumbers) -> list[list[str]]:
    """Return the cells of the table: classes, then things, stuff and all."""
    groups = {"things": "all things", "stuff": "all stuff", "all": "all"}
    rows = [
        *zip(numbers.classes, numbers.table, strict=True),
        *((title, numbers.groups[name]) for name, title in groups.items()),
    ]
    return [[name, *table_cells(numbers.columns, row, COUNTS)] for name, row in rows]


def table_note(numbers: PanopticNumbers) -> str:
    """Say what the table holds: columns, units, intervals."""
    meanings = "; ".join(f"{column}: {MEANINGS[column]}" for column in numbers.columns)
    text = (
        f"In percent. {meanings}. Segments match above an IoU of 0.5; by boundary, of the smaller "
        "one of mask IoU and boundary IoU. Means leave '-' out."
    )
    for name, (low, high) in numbers.intervals.items():
        if low == low:
            text += f" 95 % interval of {name} over images: {100 * low:.1f} to {100 * high:.1f}."
    return text


def validation_curves(validation: Mapping[str, Curve]) -> dict[str, Curve]:
    """Choose the curves of the main scores and give them names without mmengine's prefix."""
    wanted = ("PQ", "PQ_th", "PQ_st", "boundary_PQ", "mIoU")
    found = {name.rpartition("/")[2]: curve for name, curve in validation.items()}
    return {name: found[name] for name in wanted if name in found}
