"""Accuracy against latency, one point with error bars for each variant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.reports.figures import COLOURS, new_axes, plain_frame, save_png

from .variants import BASE

if TYPE_CHECKING:
    from .report import Row

_BASE = "#1f2937"


def plot(path: Path, rows: Sequence[Row], metric: str) -> None:
    """Draw the rows that have values.

    Across: the base's median latency, plus the median difference of the variant to the base in the
    same round, with its bootstrap interval. Up: the mean over seeds with its standard deviation;
    dashes are the seeds, the band is the base's standard deviation.
    """
    axes = new_axes(7.6, 4.6, dpi=120)
    rows = [row for row in rows if row.values]
    others = [row.label for row in rows if row.label != BASE]
    colours = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(others)}
    colours[BASE] = _BASE
    base = next(row for row in rows if row.label == BASE)
    places = {}
    for row in rows:
        middle, (low, high) = row.slower(base)
        x = places[row.label] = 1e3 * (base.latency[1] + middle)
        colour = colours[row.label]
        if row.label == BASE:
            axes.axhline(row.mean, color=colour, linewidth=0.8, linestyle="--", alpha=0.6)
            if row.spread:
                band = (row.mean - row.spread, row.mean + row.spread)
                axes.axhspan(*band, color=colour, alpha=0.08, linewidth=0)
        axes.errorbar(
            x,
            row.mean,
            yerr=row.spread or None,
            xerr=None if row is base else [[1e3 * (middle - low)], [1e3 * (high - middle)]],
            fmt="o",
            color=colour,
            markersize=6,
            linewidth=1.2,
            capsize=3,
        )
        axes.plot(x, row.mean, "o", color=colour, markersize=6, zorder=5)  # above all names
        axes.plot([x] * len(row.values), list(row.values.values()), "_", color=colour, ms=5)
    _label(axes, rows, places, colours)
    axes.set_xlabel("latency of one image, ms (bar: 95 % interval of the difference to none)")
    axes.set_ylabel(f"{metric} (bar: standard deviation over seeds)")
    axes.margins(x=0.12, y=0.12)
    plain_frame(axes)
    save_png(axes, path)


def _label(axes, rows: Sequence[Row], places: dict[str, float], colours: dict[str, str]) -> None:
    """Names beside the points, pushed apart where two would overlap."""
    axes.margins(x=0.12, y=0.12)
    axes.figure.draw_without_rendering()
    to_pixels = axes.transData.transform
    taken: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: row.mean):
        x, y = to_pixels((places[row.label], row.mean))
        place = y + 6
        while any(
            abs(x - other_x) < 90 and abs(place - other_y) < 15 for other_x, other_y in taken
        ):
            place += 3
        taken.append((x, place))
        points = 72 / axes.figure.dpi
        axes.annotate(
            row.label,
            (places[row.label], row.mean),
            xytext=(7, (place - y) * points),
            textcoords="offset points",
            fontsize="small",
            color=colours[row.label],
            weight="bold",
            bbox={"boxstyle": "square,pad=0.1", "color": "white", "alpha": 0.75, "linewidth": 0},
        )
