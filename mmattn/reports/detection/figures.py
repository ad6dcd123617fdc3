"""Figures of a detector's numbers: precision-recall, F1, confusion, sizes, error types."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mmattn.reports.figure_style import COLOURS, legend_above, new_axes, plain_frame
from mmattn.reports.painter import OUTCOMES

from .numbers import SHAPES, DetectionNumbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Classes that get a line and a name each; of more, the lines are grey and the mean is named.
MAX_NAMED = len(COLOURS)
# With more classes the numbers in the cells could not be read.
_MAX_NUMBERED = 25
_GREY, _INK, _FAINT = "#9ca3af", "#111827", "#e5e7eb"
_STYLES = ("-", "--", "-.", ":")
_FOUND, _BELOW, _MISSED = (
    "#{:02x}{:02x}{:02x}".format(*colour)
    for colour in (OUTCOMES[0][1], (150, 205, 230), OUTCOMES[1][1])
)


def precision_recall(numbers: DetectionNumbers) -> Axes:
    """Draw precision over recall at IoU 0.5, as AP50 averages it."""
    ap50 = numbers.table[:, numbers.columns.index("AP50")]
    names = [f"{name} {value:.2f}" for name, value in zip(numbers.classes, ap50, strict=True)]
    axes = new_axes(7.0, 5.0, dpi=110)
    _curves(axes, numbers.recalls, numbers.precision, names, f"mean {numbers.value('AP50'):.2f}")
    axes.set_xlabel(f"recall, {SHAPES[numbers.iou_type]} at IoU 0.5")
    axes.set_ylabel("precision")
    legend_above(axes)
    return axes


def f1_confidence(numbers: DetectionNumbers) -> Axes:
    """Draw F1 over confidence, and mark the best mean."""
    axes = new_axes(7.0, 5.0, dpi=110)
    mean = _curves(axes, numbers.confidences, numbers.f1, list(numbers.classes), "mean")
    if mean is not None:
        best = mean[np.argmin(np.abs(numbers.confidences - numbers.confidence))]
        several = len(numbers.classes) - len(numbers.absent) > 1
        what = "best mean" if several else "best"
        label = f"{what}: {best:.2f} at {numbers.confidence:.3f}"
        axes.axvline(numbers.confidence, color=_INK, linestyle=":", linewidth=1.2, label=label)
    axes.set_xlim(numbers.confidences[0], numbers.confidences[-1])
    axes.set_xlabel("confidence")
    axes.set_ylabel(f"F1, {SHAPES[numbers.iou_type]} at IoU 0.5")
    legend_above(axes)
    return axes


def _curves(
    axes: Axes, x: np.ndarray, curves: np.ndarray, names: list[str], mean_name: str
) -> np.ndarray | None:
    """Draw a curve for each class that has one, and their mean, which is returned."""
    drawn = np.flatnonzero(~np.isnan(curves).any(axis=1))
    named = len(drawn) <= MAX_NAMED
    for place, index in enumerate(drawn):
        axes.plot(
            x,
            curves[index],
            color=COLOURS[place % len(COLOURS)] if named else _GREY,
            linestyle=_STYLES[place % len(_STYLES)] if named else "-",
            alpha=1.0 if named else 0.35,
            linewidth=1.5 if named else 0.8,
            label=names[index] if named else ("each class" if place == 0 else None),
        )
    mean = None
    if len(drawn):
        mean = curves[drawn].mean(axis=0)
        if len(drawn) > 1:
            axes.plot(x, mean, color=_INK, linewidth=2.6, label=mean_name)
    else:
        axes.text(0.5, 0.5, "no objects", ha="center", transform=axes.transAxes)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    plain_frame(axes)
    return mean


def confusion(numbers: DetectionNumbers) -> Axes:
    """Draw the confusion matrix: colours are shares of each row, numbers are counts."""
    from matplotlib import colormaps

    counts = numbers.confusion
    names = [*numbers.classes, "background"]
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    share[-1, -1] = np.nan  # background that is not detected cannot be counted
    side = min(20.0, 3.4 + 0.45 * len(names))
    axes = new_axes(side + 1.2, side, dpi=100)
    colours = colormaps["Blues"].with_extremes(bad=_FAINT)
    drawn = axes.imshow(100 * share, cmap=colours, vmin=0, vmax=100)
    numbered = len(names) <= _MAX_NUMBERED
    row = 72 * 0.8 * side / len(names)  # height in points
    size = min(8.5, max(2.0, 0.75 * row))
    places = range(len(names))
    axes.set_xticks(places, names, rotation=90, fontsize=size)
    axes.set_yticks(places, names, fontsize=size)
    axes.set_xlabel(
        f"detected as (confidence of {numbers.confidence:.3f} and more, IoU 0.5 and more)"
        if len(names) > 8
        else f"detected as\n(confidence ≥ {numbers.confidence:.3f}, IoU ≥ 0.5)"
    )
    axes.set_ylabel("object")
    # What belongs to the background is apart: these cells are misses and inventions.
    edge = len(names) - 1.5
    axes.axhline(edge, color=_GREY, linewidth=1)
    axes.axvline(edge, color=_GREY, linewidth=1)
    if numbered:
        for row, column in np.argwhere(counts).tolist():
            text = _short(int(counts[row, column]))
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, text, color=colour, ha="center", va="center", fontsize=7)
    axes.figure.colorbar(drawn, label="% of the row", shrink=0.6, fraction=0.04)
    return axes


def _short(count: int) -> str:
    if count < 10_000:
        return str(count)
    return f"{count / 1000:.0f}k" if count < 1_000_000 else f"{count / 1e6:.1f}M"


def sizes(numbers: DetectionNumbers) -> Axes:
    """Draw how many objects of each size are found."""
    counts, edges = numbers.sizes, list(numbers.size_edges)
    axes = new_axes(8.0, 4.6, dpi=110)
    occupied = np.flatnonzero(counts.sum(axis=0))
    if not len(occupied):
        axes.text(0.5, 0.5, "no objects", ha="center", transform=axes.transAxes)
        return axes
    bins = np.arange(occupied[0], occupied[-1] + 1)
    labels = [
        f"{edges[b]}-{edges[b + 1]}" if b + 1 < len(edges) else f"{edges[b]} and up" for b in bins
    ]
    x, bottom = np.arange(len(bins)), np.zeros(len(bins))
    names = ("found", f"found below confidence {numbers.confidence:.3f}", "missed")
    hatches = (None, None, "///")
    for row, name, colour, hatch in zip(
        counts[:, bins], names, (_FOUND, _BELOW, _MISSED), hatches, strict=True
    ):
        axes.bar(
            x, row, bottom=bottom, width=0.8, color=colour, hatch=hatch, label=name,
            edgecolor="white", linewidth=0.5,
        )  # fmt: skip
        bottom += row
    for place, (found, total) in enumerate(
        zip(counts[0, bins].tolist(), bottom.tolist(), strict=True)
    ):
        if total:
            text = f"{100 * found / total:.0f} %"
            axes.text(place, total, text, ha="center", va="bottom", fontsize="small")
    axes.set_ylim(0, 1.1 * bottom.max())
    axes.set_xticks(x, labels, rotation=30 if len(bins) > 7 else 0)
    axes.set_xlabel("size of the object: square root of its area, pixels")
    axes.set_ylabel("objects")
    plain_frame(axes)
    axes.grid(visible=False, axis="x")
    axes.set_axisbelow(True)
    legend_above(axes)
    return axes


def error_types(numbers: DetectionNumbers) -> Axes:
    """Draw the gain of AP50 if the errors of each type were mended, beside their number."""
    names = list(numbers.errors)
    gains = np.array([100 * numbers.errors[name][1] for name in names])
    labels = [f"{name} ({numbers.errors[name][0]})" for name in names]
    gains = np.append(gains, [100 * numbers.false_positives, 100 * numbers.false_negatives])
    labels += ["all false positives", "all false negatives"]
    gains = np.nan_to_num(gains)
    # A gap sets the sums apart from the types.
    y = np.append(np.arange(len(names)), len(names) + np.array([0.5, 1.5]))
    axes = new_axes(7.4, 4.4, dpi=110)
    colours = [COLOURS[0]] * len(names) + [_GREY] * 2
    axes.barh(y, gains, height=0.72, color=colours)
    widest = max(float(gains.max()), 1.0)
    for place, gain in zip(y.tolist(), gains.tolist(), strict=True):
        axes.text(
            max(gain, 0) + 0.012 * widest, place, f"{gain:+.1f}", va="center", fontsize="small"
        )
    axes.set_xlim(min(0.0, 1.05 * gains.min()), 1.14 * widest)
    axes.set_yticks(y, labels)
    axes.invert_yaxis()
    axes.set_xlabel(
        f"points of AP50 ({100 * numbers.value('AP50'):.1f} now, "
        f"{SHAPES[numbers.iou_type]}) if these errors alone were mended"
    )
    plain_frame(axes)
    axes.grid(visible=False, axis="y")
    axes.set_axisbelow(True)
    return axes


#: Name of a plot -> description, and function that draws it.
FIGURES: dict[str, tuple[str, Callable[[DetectionNumbers], Axes]]] = {
    "precision_recall": ("Precision over recall at IoU 0.5", precision_recall),
    "f1": ("F1 over confidence", f1_confidence),
    "confusion": ("Confusion matrix", confusion),
    "sizes": ("Objects found and missed by size", sizes),
    "errors": ("Cost of each type of error", error_types),
}
