"""The numbers behind the plots of panoptic segmentation; ``to_json`` writes them down."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmattn.io import atomic_write
from mmattn.palette import Palette

#: Columns that count; all others are fractions.
COUNTS = ("segments", "TP", "FP", "FN")
#: Column -> what it is.
MEANINGS = {
    "segments": "labelled segments",
    "TP": "matched segments",
    "FP": "false segments",
    "FN": "missed segments",
    "PQ": "panoptic quality",
    "SQ": "segmentation quality, the mean IoU of matched segments",
    "RQ": "recognition quality, the F1 of matching",
    "bPQ": "boundary PQ",
    "bSQ": "segmentation quality by boundary",
    "bRQ": "recognition quality by boundary",
    "IoU": "semantic IoU of the same map",
    "Acc": "share of the labelled pixels that are predicted as this class",
}


@dataclass(frozen=True, eq=False)
class DrawnMap:
    """The segments of an image, reduced in size.

    Attributes:
        index: (H, W), place of the segment plus 1, 0 for void.
        labels: (n,), class index of each segment.
        wrong: bool (n,), whether a segment is missed (labelled) or false (predicted).
        crowd: bool (n,)
    """

    index: np.ndarray
    labels: np.ndarray
    wrong: np.ndarray
    crowd: np.ndarray


@dataclass(frozen=True, eq=False)
class WorstImage:
    """An image with its ground truth and prediction.

    Attributes:
        name: Path of the image file.
        quality: PQ of this image alone.
        matched: Number of matched segments.
        false: Number of predicted segments that match none.
        missed: Number of labelled segments that nothing matches.
        truth: Labelled segments.
        predicted: Predicted segments.
    """

    name: str
    quality: float
    matched: int
    false: int
    missed: int
    truth: DrawnMap
    predicted: DrawnMap


@dataclass(frozen=True, eq=False)
class PanopticNumbers:
    """All numbers of one evaluation of K classes.

    Fractions from 0 to 1; nan where a number is not defined.

    Attributes:
        classes: Names of the classes.
        things: Whether each class is a thing.
        palette: RGB of each class.
        num_images: Number of images.
        columns: Names of the values per class, of ``MEANINGS``.
        table: (K, columns)
        groups: ``all``, ``things`` or ``stuff`` -> (columns,); totals of counts, means of the rest.
        worst: The worst images, the worst first.
        intervals: Name of a score -> 95 % interval over images.
    """

    classes: tuple[str, ...]
    things: tuple[bool, ...]
    palette: Palette
    num_images: int
    columns: tuple[str, ...]
    table: np.ndarray
    groups: Mapping[str, np.ndarray]
    worst: tuple[WorstImage, ...] = ()
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def value(self, column: str, group: str = "all") -> float:
        """Return the value of a group in a column; nan for a column that is not there."""
        if column not in self.columns:
            return math.nan
        return float(self.groups[group][self.columns.index(column)])

    def of_classes(self, column: str) -> np.ndarray:
        """Return the values of the classes in a column, (K,)."""
        return self.table[:, self.columns.index(column)]

    @property
    def absent(self) -> frozenset[str]:
        """Names of the classes without a labelled segment."""
        counts = self.of_classes("segments")
        return frozenset(name for name, n in zip(self.classes, counts, strict=True) if not n)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the drawn segments in types of JSON; what is undefined is null."""
        return {
            "images": self.num_images,
            "matched_above_iou": 0.5,
            "columns": {name: MEANINGS[name] for name in self.columns},
            "classes": {
                name: {"isthing": thing, **self._row(row)}
                for name, thing, row in zip(self.classes, self.things, self.table, strict=True)
            },
            "groups": {name: self._row(row) for name, row in self.groups.items()},
            "intervals_95": {name: list(ends) for name, ends in self.intervals.items()},
            "worst_images": [
                {
                    "image": image.name,
                    "PQ": _defined(image.quality),
                    "matched": image.matched,
                    "false": image.false,
                    "missed": image.missed,
                }
                for image in self.worst
            ],
        }

    def write_json(self, file: Path) -> Path:
        """Write ``to_json`` to ``file``."""
        with atomic_write(file, "w") as content:
            content.write(json.dumps(self.to_json(), indent=1) + "\n")
        return file

    def _row(self, values: np.ndarray) -> dict[str, float | int | None]:
        return {
            name: int(value) if name in COUNTS else _defined(value)
            for name, value in zip(self.columns, values.tolist(), strict=True)
        }


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
