"""Plots: accuracy against latency, and curves of a metric, each network in a colour of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean

from mmattn.reports.curves import Curve
from mmattn.reports.figure_style import COLOURS, legend_above, new_axes, plain_frame, save_png

from .results import Row
from .variants import BASE

_BASE_COLOUR = "#1f2937"
# Width and height in inches, dots per inch.
_SIZE = (7.6, 4.6, 120)


def plot_accuracy_latency(path: Path, rows: Sequence[Row], metric: str) -> None:
    """Draw one point with error bars for each variant that has values.

    x: the base's median latency, plus the median difference of the variant to the base in the same
    round, with its bootstrap interval. y: the mean over seeds with its standard deviation; dashes
    are the seeds, the band is the base's standard deviation.

    Args:
        path: PNG file to write.
        rows: Results of the variants, with costs; the base is among them.
        metric: Name of the metric.
    """
    axes = new_axes(*_SIZE)
    rows = [row for row in rows if row.values]
    colours = _colours(row.label for row in rows if row.label != BASE)
    colours[BASE] = _BASE_COLOUR
    base = next(row for row in rows if row.label == BASE)
    points = {}
    for row in rows:
        middle, (low, high) = row.latency_difference(base)
        x = 1e3 * (base.latency[1] + middle)
        points[row.label] = (x, row.mean)
        colour = colours[row.label]
        if row is base:
            axes.axhline(row.mean, color=colour, linewidth=0.8, linestyle="--", alpha=0.6)
            if row.std:
                band = (row.mean - row.std, row.mean + row.std)
                axes.axhspan(*band, color=colour, alpha=0.08, linewidth=0)
        axes.errorbar(
            x,
            row.mean,
            yerr=row.std or None,
            xerr=None if row is base else [[1e3 * (middle - low)], [1e3 * (high - middle)]],
            fmt="o",
            color=colour,
            markersize=6,
            linewidth=1.2,
            capsize=3,
        )
        axes.plot(x, row.mean, "o", color=colour, markersize=6, zorder=5)  # above all names
        axes.plot([x] * len(row.values), list(row.values.values()), "_", color=colour, ms=5)
    axes.margins(x=0.12, y=0.12)
    _label_points(axes, points, colours)
    axes.set_xlabel("latency of one image, ms (bar: 95 % interval of the difference to none)")
    axes.set_ylabel(f"{metric} (bar: standard deviation over seeds)")
    plain_frame(axes)
    save_png(axes, path)


def plot_differences(path: Path, rows: Sequence[Row], metric: str) -> None:
    """Draw the difference of each variant to the base, with its intervals: a forest plot.

    The thick bar is the interval over images, the thin one that over seeds, and the dashes are the
    seeds. Rows that are called different are filled.

    Args:
        path: PNG file to write.
        rows: Results of the variants; those without a difference are left out.
        metric: Name of the metric.
    """
    rows = [row for row in rows if row.vs_base is not None]
    axes = new_axes(_SIZE[0], 1.0 + 0.42 * len(rows), _SIZE[2])
    colours = _colours(row.label for row in rows)
    axes.axvline(0.0, color=_BASE_COLOUR, linewidth=0.8, linestyle="--")
    for place, row in enumerate(reversed(rows)):
        entry, colour = row.vs_base, colours[row.label]
        for interval, width in ((entry.t_interval, 1.2), (entry.image_interval, 4.0)):
            if interval is not None:
                axes.plot(interval, [place] * 2, color=colour, linewidth=width, alpha=0.7)
        axes.plot(entry.per_seed, [place] * len(entry.per_seed), "|", color=colour, ms=9)
        filled = row.verdict is not None and row.verdict.different
        axes.plot(entry.mean, place, "o", color=colour, mfc=colour if filled else "white", ms=7)
    axes.set_yticks(range(len(rows)), [row.label for row in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(f"difference in {metric} (thin: t over seeds, thick: images; 95 %)")
    plain_frame(axes)
    save_png(axes, path)


def plot_curves(path: Path, curves: Mapping[str, Sequence[Curve]], metric: str) -> None:
    """Draw curves over training: a thin one for each run, a thick one for the mean of a network.

    Args:
        path: PNG file to write.
        curves: Curves of the runs of each network, by the network's name.
        metric: Name of the metric.
    """
    axes = new_axes(*_SIZE)
    colours = _colours(curves)
    for network, runs in curves.items():
        values = [dict(run) for run in runs]
        steps = sorted(set(values[0]).intersection(*values[1:]))
        if len(runs) > 1:
            for run in values:
                points = zip(*run.items(), strict=True)
                axes.plot(*points, color=colours[network], alpha=0.35, linewidth=1)
        means = [mean(run[step] for run in values) for step in steps]
        label = f"{network}, mean of {len(runs)}" if len(runs) > 1 else network
        style = {"color": colours[network], "markersize": 4, "linewidth": 2.2}
        axes.plot(steps, means, "o-", label=label, **style)
    axes.set_xlabel("step of the validation")
    axes.set_ylabel(metric)
    legend_above(axes)
    plain_frame(axes)
    save_png(axes, path)


def _colours(names: Iterable[str]) -> dict[str, str]:
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}


def _label_points(
    axes, points: Mapping[str, tuple[float, float]], colours: Mapping[str, str]
) -> None:
    """Write names beside the points, pushed apart where two would overlap."""
    axes.figure.draw_without_rendering()
    to_pixels = axes.transData.transform
    taken: list[tuple[float, float]] = []
    for name, point in sorted(points.items(), key=lambda item: item[1][1]):
        x, y = to_pixels(point)
        height = y + 6
        while any(
            abs(x - other_x) < 90 and abs(height - other_y) < 15 for other_x, other_y in taken
        ):
            height += 3
        taken.append((x, height))
        points_per_pixel = 72 / axes.figure.dpi
        axes.annotate(
            name,
            point,
            xytext=(7, (height - y) * points_per_pixel),
            textcoords="offset points",
            fontsize="small",
            color=colours[name],
            weight="bold",
            bbox={"boxstyle": "square,pad=0.1", "color": "white", "alpha": 0.75, "linewidth": 0},
        )
