"""Figures of panoptic segmentation: quality per class, and what became of the segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mmattn.reports.figure_style import COLOURS, legend_above, new_axes, plain_frame
from mmattn.reports.painter import OUTCOMES

from .numbers import PanopticNumbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_THING, _STUFF = COLOURS[0], COLOURS[2]
_INK = "#111827"


def quality(numbers: PanopticNumbers) -> Axes:
    """Draw PQ of each class as a bar, with its SQ, RQ and boundary PQ as marks."""
    axes, order = _rows(numbers)
    places = np.arange(len(order))
    things = np.array(numbers.things, bool)[order]
    values = 100 * numbers.of_classes("PQ")[order]
    for name, chosen, colour in (("things", things, _THING), ("stuff", ~things, _STUFF)):
        if chosen.any():
            mean = 100 * numbers.value("PQ", name)
            label = f"PQ of {name}, mean {mean:.1f}" if mean == mean else f"PQ of {name}"
            axes.barh(places[chosen], values[chosen], color=colour, alpha=0.8, label=label)
    marks = {"SQ": "|", "RQ": "x", "bPQ": "o"}
    for column, marker in marks.items():
        if column in numbers.columns:
            label = {"bPQ": "boundary PQ"}.get(column, column)
            axes.scatter(
                100 * numbers.of_classes(column)[order],
                places,
                marker=marker,
                s=26,
                color=_INK,
                facecolors="white" if marker == "o" else _INK,
                label=label,
                zorder=3,
            )
    axes.set_xlim(0, 102)
    axes.set_xlabel("%")
    legend_above(axes)
    return axes


def outcomes(numbers: PanopticNumbers) -> Axes:
    """Draw how many segments of each class are matched, missed and false, as shares."""
    axes, order = _rows(numbers)
    counts = np.stack([numbers.of_classes(name)[order] for name in ("TP", "FN", "FP")])
    total = np.maximum(counts.sum(0), 1)
    left = np.zeros(len(order))
    for row, (name, colour) in zip(counts, OUTCOMES, strict=True):
        share = 100 * row / total
        label = f"{'matched' if name == 'right' else name} ({row.sum():.0f})"
        axes.barh(
            np.arange(len(order)), share, left=left, color=np.array(colour) / 255, label=label
        )
        left += share
    axes.set_xlim(0, 101)
    axes.set_xlabel("% of the segments of a class, labelled or predicted")
    legend_above(axes)
    return axes


def _rows(numbers: PanopticNumbers) -> tuple[Axes, np.ndarray]:
    """Return axes with a row for each class that occurs, things above stuff."""
    seen = ~np.isnan(numbers.of_classes("PQ"))
    order = np.flatnonzero(seen)[::-1]
    height = min(40.0, 1.4 + 0.24 * max(len(order), 1))
    axes = new_axes(7.0, height, dpi=110)
    axes.set_yticks(np.arange(len(order)), [numbers.classes[i] for i in order], fontsize=8)
    if not len(order):
        axes.text(0.5, 0.5, "no segments", ha="center", transform=axes.transAxes)
    axes.set_ylim(-0.7, max(len(order), 1) - 0.3)
    plain_frame(axes)
    return axes, order


#: Name of a figure's file -> what it shows, and the function that draws it.
FIGURES: dict[str, tuple[str, Callable[[PanopticNumbers], Axes]]] = {
    "panoptic_quality": ("Panoptic quality per class", quality),
    "panoptic_segments": ("Segments matched, missed and false per class", outcomes),
}
