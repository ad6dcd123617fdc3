"""Pictures of explanations: the image with its target, and a panel for each map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from .explanation import Explanation
from .layers import short_names
from .networks import Sample
from .target import Target, region_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours of the target, of maps, and of the levels of sampling points.
TARGET = "#00e5ff"
COLOURS = "inferno"
LEVELS = ("#38bdf8", "#facc15", "#f472b6", "#4ade80", "#fb923c", "#a78bfa")
#: Widths of a panel and of the colour bar beside it, heights of a line of its title and of its
#: caption, and of the space around both, in inches; pixels per inch; letters a line.
_PANEL, _BAR = 3.0, 0.4
_TITLE_LINE, _CAPTION_LINE, _SPACE = 0.17, 0.135, 0.3
_DPI = 120
_LETTERS, _TITLE_LETTERS = 50, 48
#: Most parts of channels whose names are written below them.
_NAMED_PARTS = 4
#: Numbers of a map that was checked for faithfulness.
CHECKS = ("deletion", "deletion_random", "insertion", "insertion_random")
#: Powers of ten that the colours of a receptive field span.
_DECADES = 4
#: Weight of the map over the grey image where the map is largest and where it is 0.
_OPAQUE, _CLEAR = 0.8, 0.3


@dataclass(frozen=True)
class Group:
    """Explanations of one network.

    Attributes:
        sample: Image.
        target: What is explained.
        explanations: Maps, gates and points.
        label: Name of the network, where there are several.
    """

    sample: Sample
    target: Target
    explanations: Sequence[Explanation]
    label: str = ""


def draw(path: Path, groups: Sequence[Group], *, columns: int = 4) -> None:
    """Draw the image with the target, then every explanation, and write a PNG.

    Args:
        path: File to write.
        groups: What is drawn; each begins on a row of its own.
        columns: Most panels in a row.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from mmattn.reports.figure_style import save_png

    most = max(len(group.explanations) + 1 for group in groups)
    columns = -(-most // -(-most // columns))  # rows alike, not a last one of a single panel
    rows = sum(-(-(len(group.explanations) + 1) // columns) for group in groups)
    tall = min(max(_shape_of(groups[0].sample), 0.5), 1.5)
    maps = any(one.values is not None for group in groups for one in group.explanations)
    widest = _PANEL if maps else _PANEL + _BAR
    figure = Figure(
        figsize=((_PANEL + _BAR) * columns, (widest * tall + _text_height(groups)) * rows),
        dpi=_DPI,
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    panels: list[Axes] = list(np.atleast_1d(figure.subplots(rows, columns)).ravel())
    used = 0
    for group in groups:
        _draw_group(panels[used:], group)
        count = len(group.explanations) + 1
        end = used + -(-count // columns) * columns
        for axes in panels[used + count : end]:
            axes.set_axis_off()
        used = end
    save_png(panels[0], path)


def _text_height(groups: Sequence[Group]) -> float:
    """Return the height of the most text that a panel has above and below it, in inches."""
    heights = [0.0]
    for group in groups:
        titles = [_image_title(group), *map(_title, group.explanations)]
        captions = [_image_caption(group.target), *map(_caption, group.explanations)]
        for title, caption in zip(titles, captions, strict=True):
            lines = title.count("\n") + 1, caption.count("\n") + 1
            heights.append(lines[0] * _TITLE_LINE + lines[1] * _CAPTION_LINE)
    ticks = any(one.channels is not None for group in groups for one in group.explanations)
    return max(heights) + _SPACE + ticks * _TITLE_LINE


def _shape_of(sample: Sample) -> float:
    """Return the height of an image over its width."""
    height, width = sample.placement.image
    return height / width


def _draw_group(panels: Sequence[Axes], group: Group) -> None:
    sample, target = group.sample, group.target
    _draw_image(panels[0], group)
    for axes, explanation in zip(panels[1:], group.explanations, strict=False):
        axes.set_title(_title(explanation), fontsize=8)
        if explanation.values is not None:
            _draw_map(axes, sample, target, explanation)
        elif explanation.channels is not None:
            _draw_channels(axes, explanation, _shape_of(sample))
        if explanation.points is not None:
            _draw_points(axes, sample, explanation)
        axes.set_xlabel(_caption(explanation), fontsize=6.5)


def _draw_image(axes: Axes, group: Group) -> None:
    axes.imshow(group.sample.pixels)
    axes.set_title(_image_title(group), fontsize=8)
    _bare(axes)
    _mark(axes, group.sample, group.target)
    axes.set_xlabel(_image_caption(group.target), fontsize=6.5)


def _image_title(group: Group) -> str:
    title = f"{group.label or group.sample.file.name}: {group.target.name}"
    return "\n".join(wrap(title, _TITLE_LETTERS))


def _image_caption(target: Target) -> str:
    formula = wrap(f"y: {target.formula}", _LETTERS)
    return "\n".join([*formula, f"score {target.score:.3f}"])


def _title(explanation: Explanation) -> str:
    return "\n".join(wrap(f"{explanation.method}: {explanation.name}", _TITLE_LETTERS))


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
    norm = _norm(values, explanation.method)
    share = np.asarray(norm(values)) if norm.vmax > norm.vmin else np.zeros_like(values)
    grey = sample.pixels.mean(2, keepdims=True) / 255
    opacity = (_CLEAR + (_OPAQUE - _CLEAR) * share)[..., None]
    mixed = (1 - opacity) * grey + opacity * colormaps[COLOURS](share)[..., :3]
    axes.imshow(mixed.clip(0, 1))
    _bare(axes)
    if explanation.position is None:
        _mark(axes, sample, target, faint=True)
    else:
        _mark_cell(axes, sample, explanation)
    _colour_bar(axes, norm)


def _mark_cell(axes: Axes, sample: Sample, explanation: Explanation) -> None:
    """Draw the cell of the feature map whose attention is shown."""
    from matplotlib.patches import Rectangle

    assert explanation.position is not None and explanation.values is not None
    grid = explanation.position_grid or explanation.values.shape
    padded = sample.placement.padded
    side = (padded[1] / grid[1], padded[0] / grid[0])
    x0, y0 = explanation.position[1] * side[0], explanation.position[0] * side[1]
    x0, y0, x1, y1 = sample.placement.box_in_image((x0, y0, x0 + side[0], y0 + side[1]))
    axes.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, ec=TARGET, lw=1.4))


def _norm(values: np.ndarray, method: str) -> Any:
    """Return how values become shares of the colours: from 0 to the largest one, mostly."""
    from matplotlib.colors import LogNorm, Normalize

    top = float(values.max())
    if method == "receptive-field" and top > 0:  # nearly all of it lies in a few pixels
        return LogNorm(top / 10**_DECADES, top, clip=True)
    # Of gates, 0 is no natural end: they may all be open, and differ a little.
    return Normalize(float(values.min()) if method == "gates" else 0.0, top)


def _colour_bar(axes: Axes, norm: Any) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    spread = norm.vmax > norm.vmin
    mappable = ScalarMappable(norm if spread else Normalize(norm.vmin, norm.vmin + 1), COLOURS)
    ticks = [float(norm.inverse(share)) for share in (0, 0.5, 1)] if spread else [norm.vmin]
    place = axes.inset_axes((1.015, 0.0, 0.035, 1.0))
    bar = axes.figure.colorbar(mappable, cax=place, ticks=ticks)
    bar.ax.minorticks_off()
    bar.ax.set_yticklabels([f"{value:.2g}" for value in ticks])
    bar.ax.tick_params(labelsize=6, length=2, pad=1)
    bar.outline.set_linewidth(0.4)  # pyright: ignore[reportCallIssue]


def _draw_channels(axes: Axes, explanation: Explanation, tall: float) -> None:
    """Draw a number for each channel or head, in an axes as high and wide as the image.

    Those of one kind are drawn sorted as well; between parts there is a line.
    """
    assert explanation.channels is not None
    values, parts = explanation.channels, explanation.parts
    axes.bar(np.arange(len(values)), values, width=1.0, color="#2563eb", alpha=0.55, lw=0)
    if parts:
        ends = np.cumsum([count for _, count in parts])
        for end in ends[:-1]:
            axes.axvline(end - 0.5, color="#64748b", lw=0.5)
        if len(parts) <= _NAMED_PARTS:
            middles = [end - count / 2 - 0.5 for end, (_, count) in zip(ends, parts, strict=True)]
            axes.set_xticks(middles, short_names([name for name, _ in parts]))
    else:
        axes.plot(np.sort(values)[::-1], color="#c2410c", lw=1.2, label="sorted")
        axes.set_ylim(min(0.0, float(values.min())), max(1.0, float(values.max())))
        axes.legend(fontsize=6, frameon=False, loc="lower left")
    axes.set_box_aspect(tall)
    axes.tick_params(labelsize=6)
    axes.grid(alpha=0.3, axis="y" if parts else "both")


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
            s=2 + 34 * points.weights[here] / largest,
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
    layer = explanation.place
    if explanation.values is not None:
        height, width = explanation.values.shape
        layer += f", {height} x {width}"
    numbers = dict(explanation.numbers)
    checks = {name: numbers.pop(name, None) for name in CHECKS}
    lines = [*_cut(layer), ", ".join(f"{_plain(k)} {_number(v)}" for k, v in numbers.items())]
    if checks["deletion"] is None:
        lines.append("raw")
    else:
        lines += [
            f"{name} {_number(checks[name])} (random maps {_number(checks[f'{name}_random'])})"
            for name in ("deletion", "insertion")
        ]
    lines += explanation.notes
    return "\n".join(part for line in lines if line for part in wrap(line, _LETTERS))


def _cut(name: str) -> list[str]:
    """Cut the name of a module into lines, behind dots."""
    lines = []
    while len(name) > _LETTERS and "." in name[:_LETTERS]:
        end = name.rindex(".", 0, _LETTERS) + 1
        lines.append(name[:end])
        name = name[end:]
    return [*lines, name]


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
