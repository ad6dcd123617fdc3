"""Figures of matplotlib without a display, in one style."""

from __future__ import annotations

from pathlib import Path

from mmattn.io import atomic_write

#: Of lines and points: dark enough for text on white, and apart in hue.
COLOURS = (
    *("#2563eb", "#c2410c", "#15803d", "#7c3aed", "#be185d", "#0e7490", "#a16207", "#4d7c0f"),
    *("#6b21a8", "#9f1239"),
)


def new_axes(width: float, height: float, dpi: int):
    """Axes in a figure of their own, of ``width`` by ``height`` inches; ``axes.figure`` is it."""
    # Not pyplot: it keeps every figure alive and may want a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure.subplots()


def plain_frame(axes) -> None:
    """A faint grid, and no frame above and to the right."""
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def save_png(axes, path: Path) -> None:
    """Write the figure of ``axes``; the file appears only when it is complete."""
    with atomic_write(path) as file:
        axes.figure.savefig(file, format="png")
