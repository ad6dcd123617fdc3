"""The data of a report on one detection or instance segmentation run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmattn.reports.curves import Curve
from mmattn.reports.number_formats import table_cells
from mmattn.reports.run import Run

from .numbers import DetectionNumbers


@dataclass(frozen=True)
class ExportedDetections:
    """Results of an exported file on the images that torch was measured on.

    Attributes:
        file: Name of the file.
        file_bytes: Its size.
        parity: Content of ``parity.json``, which the export wrote.
        numbers: ``bbox`` -> numbers of the evaluation.
    """

    file: str
    file_bytes: int
    parity: Mapping[str, Any]
    numbers: Mapping[str, DetectionNumbers]

    @property
    def runtime(self) -> str:
        """Name of what ran the file."""
        return self.parity["runtime"].split()[0]


@dataclass(kw_only=True)
class DetectionRun(Run):
    """The data of a report. All fields but ``title`` and ``numbers`` may be left out.

    Attributes:
        numbers: ``bbox`` or ``segm`` -> numbers of the evaluation.
        exported: The exported file on the same images.
    """

    numbers: Mapping[str, DetectionNumbers]
    exported: ExportedDetections | None = None


def table_rows(numbers: DetectionNumbers) -> list[list[str]]:
    """Return the cells of the table per class, all classes together last."""
    rows = zip((*numbers.classes, "all"), (*numbers.table, numbers.overall), strict=True)
    return [[name, *table_cells(numbers.columns, row, ("images", "objects"))] for name, row in rows]


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


def exported_rows(run: DetectionRun, iou_type: str) -> tuple[list[str], list[list[str]]]:
    """Return titles and cells of a table of AP and AP50 in torch and in the exported file.

    One row for each class, all classes together last; in percent. Without a file, or without
    numbers of this type in it, there are no rows.
    """
    if run.exported is None or iou_type not in run.exported.numbers:
        return [], []
    torch, file = run.numbers[iou_type], run.exported.numbers[iou_type]
    columns = [name for name in ("AP", "AP50") if name in torch.columns and name in file.columns]
    titles = ["class"]
    titles += [f"{name}, {where}" for name in columns for where in ("torch", run.exported.runtime)]
    rows = []
    for index, name in enumerate((*torch.classes, "all")):
        cells = [name]
        for column in columns:
            for numbers in (torch, file):
                values = (*numbers.table, numbers.overall)[index]
                value = float(values[numbers.columns.index(column)])
                cells.append("-" if value != value else f"{100 * value:.2f}")
        rows.append(cells)
    return titles, rows


def validation_curves(validation: Mapping[str, Curve]) -> dict[str, Curve]:
    """Choose the curves of AP and AP50 and give them names without mmengine's prefix."""
    chosen: dict[str, Curve] = {}
    for name, curve in validation.items():
        short = name.rpartition("/")[2]
        if short.endswith(("_mAP", "_mAP_50")):
            chosen[short] = curve
    return chosen
