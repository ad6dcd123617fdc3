"""Optional abilities of a metric that mmattn's hooks and comparison look for with ``isinstance``.

A metric needs no base class: it has the attribute or the method, or it is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from .class_table import ClassTable

if TYPE_CHECKING:
    from mmattn.reports.detection.numbers import DetectionNumbers
    from mmattn.reports.panoptic.numbers import PanopticNumbers

    from .detection.matching import Matches


@runtime_checkable
class HasClassTables(Protocol):
    """A metric that keeps its results per class; ``ClasswiseResultsHook`` logs them.

    Attributes:
        class_tables: Tables of the last evaluation; empty before the first one.
    """

    class_tables: Sequence[ClassTable]


@runtime_checkable
class SavesPlots(Protocol):
    """A metric that draws its last evaluation; ``EvalPlotsHook`` asks it to."""

    def save_plots(self, folder: Path, name: str) -> list[Path]:
        """Write plots into ``folder``.

        Args:
            folder: Folder of the files; it need not exist.
            name: End of the file names, such as ``val``.

        Returns:
            The files; none without an evaluation.

        Raises:
            ValueError, OSError: A plot cannot be drawn or written.
        """
        ...


@runtime_checkable
class HasAreas(Protocol):
    """A segmentation metric that keeps counts per image; comparisons resample images from them.

    Attributes:
        areas: int64 (images, 4, K): hit pixels, union, predicted and labelled pixels of each
            class in each image, in the dataset's order; None without an evaluation.
    """

    areas: np.ndarray | None


@runtime_checkable
class HasMatches(Protocol):
    """A detection metric that keeps its matches; comparisons resample images from them.

    Attributes:
        matches: ``bbox``, ``segm`` or ``boundary`` -> matches of the last evaluation; empty before
            the first one.
        iou_thrs: IoU thresholds of AP.
        proposal_nums: Limits of detections of a class in an image.
    """

    matches: Mapping[str, Matches]
    iou_thrs: Sequence[float]
    proposal_nums: Sequence[int]


@runtime_checkable
class HasDetectionNumbers(Protocol):
    """A metric of detection that keeps what plots and reports are made of.

    Attributes:
        numbers: ``bbox``, ``segm`` or ``boundary`` -> numbers of the last evaluation; empty before
            the first one.
        worst: Number of images with the lowest F1 to keep.
    """

    numbers: Mapping[str, DetectionNumbers]
    worst: int


@runtime_checkable
class HasPanopticNumbers(Protocol):
    """A panoptic metric that keeps what plots and reports are made of.

    Attributes:
        panoptic: Numbers of the last evaluation; None before the first one.
        worst: Number of images with the lowest panoptic quality to keep.
    """

    panoptic: PanopticNumbers | None
    worst: int


@runtime_checkable
class NamesOutputs(Protocol):
    """A metric that writes a file for each image; ``mmattn test`` tells it how to name them."""

    def name_outputs(self, names: Mapping[str, Path]) -> None:
        """Set the names.

        Args:
            names: ``img_path`` of each image of the test -> path without ending, see
                ``mmattn.engine.drawn_names``.
        """
        ...
