"""The numbers behind the plots of a detector, as plain arrays; ``to_json`` writes them down."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmattn.io import atomic_write

#: What the IoU of a type is measured on.
SHAPES = {"bbox": "boxes", "segm": "masks", "boundary": "outlines"}


@dataclass(frozen=True, eq=False)
class DrawnObject:
    """A box, with its mask if there is one, in the pixels of the image file.

    Attributes:
        label: Class index.
        box: x, y, width, height.
        right: Whether it is hit (an object) or hits (a detection).
        score: Score of a detection; nan for an object.
        mask: (H, W) bool, or None.
    """

    label: int
    box: tuple[float, float, float, float]
    right: bool
    score: float = math.nan
    mask: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class WorstImage:
    """An image with what was to be found and what was detected at the confidence and above.

    Attributes:
        name: Path of the image file, or its id where no path is known.
        size: Height and width.
        f1: F1 of this image alone.
        hits: Number of detections that hit an object.
        false: Number of detections that hit none.
        missed: Number of objects that nothing hits.
        objects: Ground truth; crowd regions are left out.
        detections: Detections, except those ignored in crowd regions.
        title: Name below the folder that all images share; "" for the name of the file alone.
    """

    name: str
    size: tuple[int, int]
    f1: float
    hits: int
    false: int
    missed: int
    objects: tuple[DrawnObject, ...] = ()
    detections: tuple[DrawnObject, ...] = ()
    title: str = ""


@dataclass(frozen=True, eq=False)
class DetectionNumbers:
    """All numbers of one evaluation of K classes; hits are at IoU 0.5 unless said otherwise.

    Fractions from 0 to 1; nan where a number is not defined.

    Attributes:
        iou_type: ``bbox``, ``segm`` or ``boundary``.
        classes: Names of the classes.
        num_images: Number of images.
        confidence: Confidence with the best mean F1.
        columns: Names of the values per class.
        table: (K, columns); its mean or total is in ``overall``.
        overall: (columns,)
        recalls: (101,)
        precision: Precision of each class at ``recalls``, (K, 101).
        confidences: (C,)
        f1: F1 of each class at ``confidences``, (K, C).
        confusion: Counts at ``confidence``, (K + 1, K + 1); the last row and column: background.
        size_edges: Square roots of areas where the bins of sizes begin, (B,).
        sizes: Objects found, found below the confidence only, and missed, (3, B).
        errors: Error type -> number of errors and gain of AP50 if they were mended.
        false_positives: Gain of AP50 without any false detection.
        false_negatives: Gain of AP50 without any missed object.
        worst: The worst images, the worst first.
        intervals: Name of a score -> 95 % interval over images.
        best: The best images, the best first.
    """

    iou_type: str
    classes: tuple[str, ...]
    num_images: int
    confidence: float
    columns: tuple[str, ...]
    table: np.ndarray
    overall: np.ndarray
    recalls: np.ndarray
    precision: np.ndarray
    confidences: np.ndarray
    f1: np.ndarray
    confusion: np.ndarray
    size_edges: Sequence[int]
    sizes: np.ndarray
    errors: Mapping[str, tuple[int, float]]
    false_positives: float
    false_negatives: float
    worst: tuple[WorstImage, ...] = ()
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    best: tuple[WorstImage, ...] = ()

    def value(self, column: str) -> float:
        """Return the overall value of a column."""
        return float(self.overall[self.columns.index(column)])

    @property
    def absent(self) -> frozenset[str]:
        """Names of the classes without an object."""
        objects = self.table[:, self.columns.index("objects")]
        return frozenset(c for c, n in zip(self.classes, objects, strict=True) if not n)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the drawn objects in types of JSON; what is undefined is null."""
        return _plain(
            {
                "iou_type": self.iou_type,
                "images": self.num_images,
                "iou_threshold_of_hits": 0.5,
                "confidence_of_best_mean_f1": self.confidence,
                "classes": dict(zip(self.classes, map(self._row, self.table), strict=True)),
                "all": self._row(self.overall),
                "intervals_95": self.intervals,
                "precision_at_recall": {
                    "recall": self.recalls,
                    **dict(zip(self.classes, self.precision, strict=True)),
                },
                "f1_at_confidence": {
                    "confidence": self.confidences[::10],
                    **dict(zip(self.classes, self.f1[:, ::10], strict=True)),
                },
                "confusion": {
                    "rows": "class of the object, background last",
                    "columns": "class of the detection, background last",
                    "counts": self.confusion,
                },
                "sizes": {
                    "square_root_of_area_from": self.size_edges,
                    "found": self.sizes[0],
                    "found_below_the_confidence": self.sizes[1],
                    "missed": self.sizes[2],
                },
                "errors": {
                    name: {"count": count, "gain_of_AP50": gain}
                    for name, (count, gain) in self.errors.items()
                },
                "gain_of_AP50_without_false_positives": self.false_positives,
                "gain_of_AP50_without_false_negatives": self.false_negatives,
                "worst_images": [
                    {
                        "image": image.name,
                        "f1": image.f1,
                        "hits": image.hits,
                        "false": image.false,
                        "missed": image.missed,
                    }
                    for image in self.worst
                ],
            }
        )

    def write_json(self, file: Path) -> Path:
        """Write ``to_json`` to ``file``."""
        with atomic_write(file, "w") as content:
            content.write(json.dumps(self.to_json(), indent=1) + "\n")
        return file

    def _row(self, values: np.ndarray) -> dict[str, float]:
        return dict(zip(self.columns, values.tolist(), strict=True))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value
