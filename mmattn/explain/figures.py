"""Pictures of explanations: the image with its target, and a panel for each map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .explanation import Explanation
from .networks import Sample
from .targets import Target, region_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours of the target, of maps, and of the levels of sampling points.
TARGET = "#00e5ff"
COLOURS = "inferno"
LEVELS = ("#38bdf8", "#facc15", "#f472b6", "#4ade80", "#fb923c", "#a78bfa")
_PANEL = 3.3
_DPI = 110
#: Weight of the map over the grey image where the map is largest and where it is 0.
_OPAQUE, _CLEAR = 0.8, 0.3


def draw(
    path: Path,
    sample: Sample,
    target: Target,
    explanations: Sequence[Explanation],
    *,
    columns: int = 4,
    titles: Sequence[str] | None = None,
) -> None:
    """Draw the image with the target, then every explanation, and write a PNG.

    Args:
        path: File to write.
        sample: Image.
        target: What is explained.
        explanations: Maps, gates and points.
        columns: Most panels in a row.
        titles: First lines of the panels' titles, in place of the method.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from mmattn.reports.figure_style import save_png

    count = len(explanations) + 1
    columns = min(columns, count)
    rows = -(-count // columns)
    height, width = sample.placement.image
    tall = min(max(height / width, 0.5), 1.6)
    figure = Figure(
        figsize=(_PANEL * columns, (_PANEL * tall * 0.92 + 1.15) * rows),
        dpi=_DPI,
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    panels: list[Axes] = list(np.atleast_1d(figure.subplots(rows, columns)).ravel())
    _draw_image(panels[0], sample, target)
    for index, explanation in enumerate(explanations):
        axes = panels[index + 1]
        first = explanation.method if titles is None else titles[index]
        axes.set_title(f"{first}: {explanation.name}", fontsize=8, wrap=True)
        if explanation.values is not None:
            _draw_map(axes, sample, target, explanation)
        elif explanation.channels is not None:
            _draw_channels(axes, explanation)
        if explanation.points is not None:
            _draw_points(axes, sample, explanation)
        axes.set_xlabel(_caption(explanation), fontsize=6.5, wrap=True)
    for axes in panels[count:]:
        axes.set_axis_off()
    save_png(panels[0], path)


def _draw_image(axes: Axes, sample: Sample, target: Target) -> None:
    axes.imshow(sample.pixels)
    axes.set_title(f"{sample.file.name}: {target.name}", fontsize=8, wrap=True)
    _bare(axes)
    _mark(axes, sample, target)
    score = "" if target.score != target.score else f"; score {target.score:.3f}"
    axes.set_xlabel(f"y: {target.formula}{score}", fontsize=6.5, wrap=True)


def _mark(axes: Axes, sample: Sample, target: Target, *, faint: bool = False) -> None:
    """Draw the region's outline or the box, and a cross at the place of a single pixel."""
    from matplotlib.patches import Rectangle

    width = 0.8 if faint else 1.4
    if target.box is not None:
        x0, y0, x1, y1 = sample.placement.box_in_image(target.box)
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=TARGET, lw=width))
        return
    region = region_of(target, sample)
    if target.region.sum() <= 1 or not region.any():
        x, y = sample.placement.point_in_image(*target.point)
        axes.plot(x - 0.5, y - 0.5, "+", color=TARGET, ms=9, mew=1.6)
    elif not region.all():
        axes.contour(region, levels=[0.5], colors=[TARGET], linewidths=width)


def _draw_map(axes: Axes, sample: Sample, target: Target, explanation: Explanation) -> None:
    from matplotlib import colormaps

    values = sample.placement.to_image(explanation.ranking)
    top = float(values.max())
    share = values / top if top > 0 else np.zeros_like(values)
    grey = sample.pixels.mean(2, keepdims=True) / 255
    opacity = (_CLEAR + (_OPAQUE - _CLEAR) * share)[..., None]
    mixed = (1 - opacity) * grey + opacity * colormaps[COLOURS](share)[..., :3]
    axes.imshow(mixed.clip(0, 1))
    _bare(axes)
    if explanation.position is None:
        _mark(axes, sample, target, faint=True)
    else:
        _mark_cell(axes, sample, explanation)
    _colour_bar(axes, top)


def _mark_cell(axes: Axes, sample: Sample, explanation: Explanation) -> None:
    """Draw the cell of the feature map whose attention is shown."""
    from matplotlib.patches import Rectangle

    assert explanation.position is not None and explanation.values is not None
    grid = explanation.values.shape
    padded = sample.placement.padded
    side = (padded[1] / grid[1], padded[0] / grid[0])
    x0, y0 = explanation.position[1] * side[0], explanation.position[0] * side[1]
    x0, y0, x1, y1 = sample.placement.box_in_image((x0, y0, x0 + side[0], y0 + side[1]))
    axes.add_patch(
        Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, ec=TARGET, lw=1.4)
    )


def _colour_bar(axes: Axes, top: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    mappable = ScalarMappable(Normalize(0, top if top > 0 else 1), COLOURS)
    bar = axes.figure.colorbar(mappable, ax=axes, fraction=0.046, pad=0.02)
    bar.set_ticks([0, top / 2, top] if top > 0 else [0])
    bar.set_ticklabels([f"{value:.2g}" for value in ((0, top / 2, top) if top > 0 else (0,))])
    bar.ax.tick_params(labelsize=6, length=2)
    bar.outline.set_linewidth(0.4)  # pyright: ignore[reportCallIssue]


def _draw_channels(axes: Axes, explanation: Explanation) -> None:
    """Draw the gate of every channel, in order and sorted."""
    assert explanation.channels is not None
    gate = explanation.channels
    axes.bar(np.arange(len(gate)), gate, width=1.0, color="#2563eb", alpha=0.55, lw=0)
    axes.plot(np.sort(gate)[::-1], color="#c2410c", lw=1.2, label="sorted")
    axes.set_ylim(min(0.0, float(gate.min())), max(1.0, float(gate.max())))
    axes.tick_params(labelsize=6)
    axes.legend(fontsize=6, frameon=False, loc="lower left")
    axes.grid(alpha=0.3)


def _draw_points(axes: Axes, sample: Sample, explanation: Explanation) -> None:
    points = explanation.points
    assert points is not None
    if explanation.values is None:
        axes.imshow(sample.pixels)
        _bare(axes)
    padded = sample.placement.padded
    places = points.places * np.array([padded[1], padded[0]])
    x, y = sample.placement.point_in_image(places[:, 0], places[:, 1])  # pyright: ignore[reportArgumentType]
    largest = max(float(points.weights.max()), 1e-12)
    for level in np.unique(points.levels):
        here = points.levels == level
        axes.scatter(
            np.asarray(x)[here] - 0.5,
            np.asarray(y)[here] - 0.5,
            s=2 + 60 * points.weights[here] / largest,
            color=LEVELS[int(level) % len(LEVELS)],
            alpha=0.75,
            edgecolors="black",
            linewidths=0.3,
            label=f"level {int(level)}",
        )
    height, width = sample.placement.image
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.legend(fontsize=5.5, loc="upper right", framealpha=0.7, markerscale=0.8)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_linewidth(0.4)


def _caption(explanation: Explanation) -> str:
    lines = [explanation.layer]
    if explanation.values is not None:
        height, width = explanation.values.shape
        lines[0] += f", {height} x {width}"
    lines += [_numbers(explanation.numbers)] if explanation.numbers else []
    if "deletion" not in explanation.numbers:
        lines.append("; ".join(["raw", *explanation.notes]))
    else:
        lines += explanation.notes
    return "\n".join(lines)


def _numbers(numbers: dict[str, Any]) -> str:
    parts = []
    for name, value in numbers.items():
        shown = f"{value:.3g}" if isinstance(value, float) else str(value)
        parts.append(f"{name.replace('_', ' ')} {shown}")
    return ", ".join(parts)
