"""Accuracy against latency, one point with error bars for each variant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.io import atomic_write

from .names import BASE

if TYPE_CHECKING:
    from .report import Row

_BASE, _OTHER = "#c2410c", "#2563eb"


def plot(path: Path, rows: Sequence[Row], metric: str) -> None:
    """Draw the rows that have values.

    Vertical bars are the standard deviation over seeds, small dots the seeds; horizontal bars reach
    from the lowest to the median latency. The band is the base's standard deviation.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    rows = [row for row in rows if row.values]
    for row in rows:
        low, middle = (1e3 * seconds for seconds in row.latency)
        colour = _BASE if row.label == BASE else _OTHER
        if row.label == BASE:
            axes.axhline(row.mean, color=colour, linewidth=0.8, linestyle="--", alpha=0.6)
            if row.spread:
                band = (row.mean - row.spread, row.mean + row.spread)
                axes.axhspan(*band, color=colour, alpha=0.08, linewidth=0)
        axes.errorbar(
            middle,
            row.mean,
            yerr=row.spread or None,
            xerr=[[middle - low], [0]],
            fmt="o",
            color=colour,
            markersize=6,
            linewidth=1.2,
            capsize=3,
        )
        axes.plot([middle] * len(row.values), list(row.values.values()), ".", color=colour, ms=3.5)
    _label(axes, rows)
    axes.set_xlabel("latency of one picture, ms (bar: lowest to median)")
    axes.set_ylabel(f"{metric} (bar: standard deviation over seeds)")
    axes.margins(x=0.12, y=0.12)
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    with atomic_write(path) as file:
        figure.savefig(file, format="png")


def _label(axes, rows: Sequence[Row]) -> None:
    """Names beside the points, pushed apart where two would overlap."""
    axes.margins(x=0.12, y=0.12)
    axes.figure.draw_without_rendering()
    to_pixels = axes.transData.transform
    taken: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: row.mean):
        x, y = to_pixels((1e3 * row.latency[1], row.mean))
        place = y + 6
        while any(
            abs(x - other_x) < 90 and abs(place - other_y) < 15 for other_x, other_y in taken
        ):
            place += 3
        taken.append((x, place))
        points = 72 / axes.figure.dpi
        axes.annotate(
            row.label,
            (1e3 * row.latency[1], row.mean),
            xytext=(7, (place - y) * points),
            textcoords="offset points",
            fontsize="small",
            color=_BASE if row.label == BASE else "#1f2937",
        )
