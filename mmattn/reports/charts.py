"""Line charts as SVG text: sharp at any zoom, part of the page, no plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 520, 280
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 44


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        points: (x, y) with rising x; points that are not finite are left out.
        label: For the legend; empty leaves it out.
        colour: Any CSS colour.
        faint: Thin and pale, for raw values behind their average.
        dots: Mark the points.
        dashed: For a level to compare with.
    """

    points: Sequence[tuple[float, float]]
    label: str = ""
    colour: str = "#2563eb"
    faint: bool = False
    dots: bool = False
    dashed: bool = False


def smoothed(points: Sequence[tuple[float, float]], window: int) -> list[tuple[float, float]]:
    """Mean over the last ``window`` points, from the first point on."""
    values = [y for _, y in points]
    means = []
    for index, (x, _) in enumerate(points):
        recent = values[max(0, index - window + 1) : index + 1]
        means.append((x, sum(recent) / len(recent)))
    return means


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round numbers that cover ``low`` to ``high``."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        span = abs(low) or 1.0
        low, high = low - span / 2, low + span / 2
    raw = span / count
    magnitude = 10 ** math.floor(math.log10(raw))
    step = magnitude * next(m for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def line_chart(lines: Sequence[Line], *, x_label: str, y_label: str, from_zero: bool = True) -> str:
    """The lines in one frame, as an ``<svg>`` element.

    Args:
        lines: At least one line with a finite point.
        x_label: Under the horizontal axis.
        y_label: Along the vertical axis.
        from_zero: Start the vertical axis at 0 even if no value is near.
    """
    lines = [_finite(line) for line in lines]
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    if not xs:
        return '<p class="muted">No values were recorded.</p>'
    x_ticks = ticks(0 if min(xs) < 0.2 * max(xs) else min(xs), max(xs))
    y_ticks = ticks(min(0, *ys) if from_zero else min(ys), max(ys))

    def place_x(x: float) -> float:
        return LEFT + (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]) * (WIDTH - LEFT - RIGHT)

    def place_y(y: float) -> float:
        return (
            HEIGHT
            - BOTTOM
            - (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (HEIGHT - BOTTOM - TOP)
        )

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(y_label)} over {escape(x_label)}">'
    ]
    for tick in y_ticks:
        y = place_y(tick)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in x_ticks:
        parts.append(
            f'<text x="{place_x(tick):.1f}" y="{HEIGHT - BOTTOM + 18}" '
            f'text-anchor="middle">{tick:g}</text>'
        )
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" '
        f'text-anchor="middle">{escape(x_label)}</text>'
        f'<text class="axis" transform="translate(13 {middle}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_label)}</text>'
    )
    for line in lines:
        parts.append(_draw(line, place_x, place_y))
    parts.append(_legend([line for line in lines if line.label]))
    return "".join([*parts, "</svg>"])


def _finite(line: Line) -> Line:
    points = [(x, y) for x, y in line.points if math.isfinite(x) and math.isfinite(y)]
    return Line(points, line.label, line.colour, line.faint, line.dots, line.dashed)


def _draw(line: Line, place_x, place_y) -> str:
    placed = [(place_x(x), place_y(y)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    style = 'stroke-width="1" opacity="0.35"' if line.faint else 'stroke-width="2.2"'
    dash = ' stroke-dasharray="5 5"' if line.dashed else ""
    drawn = (
        f'<polyline points="{path}" fill="none" stroke="{line.colour}" {style}{dash} '
        'stroke-linejoin="round" stroke-linecap="round"/>'
    )
    if line.dots:
        drawn += "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" fill="#fff" stroke="{line.colour}" '
            'stroke-width="2"/>'
            for x, y in placed
        )
    return drawn


def _legend(lines: Sequence[Line]) -> str:
    parts = []
    for index, line in enumerate(lines):
        y = TOP + 12 + 18 * index
        x = WIDTH - RIGHT - 150
        dash = ' stroke-dasharray="5 5"' if line.dashed else ""
        width = 1 if line.faint else 2.2
        parts.append(
            f'<line x1="{x}" x2="{x + 22}" y1="{y - 4}" y2="{y - 4}" stroke="{line.colour}" '
            f'stroke-width="{width}"{dash}/><text x="{x + 28}" y="{y}">{escape(line.label)}</text>'
        )
    return "".join(parts)
