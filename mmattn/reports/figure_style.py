"""Figures of matplotlib without a display, in one style."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.io import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours of lines and points: dark enough for text on white, and apart in hue.
COLOURS = (
    *("#2563eb", "#c2410c", "#15803d", "#7c3aed", "#be185d", "#0e7490", "#a16207", "#4d7c0f"),
    *("#6b21a8", "#9f1239"),
)


def new_axes(width: float, height: float, dpi: int) -> Axes:
    """Create a figure, ``axes.figure``, with a single pair of axes.

    Args:
        width: Width of the figure in inches.
        height: Height of the figure in inches.
        dpi: Pixels per inch.
    """
    # Not pyplot: it keeps every figure alive and may want a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure.subplots()


def plain_frame(axes: Axes) -> None:
    """Draw a faint grid, and no frame above and to the right."""
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def legend_above(axes: Axes) -> None:
    """Put the legend above the axes, where it cannot lie on a line, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    figure = axes.figure
    for columns in range(len(handles), 0, -1):
        legend = figure.legend(
            handles,
            labels,
            loc="outside upper left",
            ncols=columns,
            frameon=False,
            fontsize="small",
        )
        if legend.get_window_extent().width <= figure.bbox.width or columns == 1:
            return
        legend.remove()


def save_png(axes: Axes, path: Path) -> None:
    """Write the figure of ``axes``; the file appears only when it is complete."""
    with atomic_write(path) as file:
        axes.figure.savefig(file, format="png")


def svg_data_uri(axes: Axes) -> str:
    """Encode the figure of ``axes`` as ``data:image/svg+xml``, sharp at any zoom."""
    from matplotlib import rc_context

    content = io.BytesIO()
    # Without a date and with ids that are not random, the same figure gives the same text.
    with rc_context({"svg.hashsalt": "mmattn"}):
        axes.figure.savefig(content, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(content.getvalue()).decode()}"
