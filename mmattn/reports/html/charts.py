"""Line charts as SVG inside the page: sharp, small, and in the colours of its light or dark look.

They need no matplotlib, so that a report costs a run next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .components import Html

#: Colours of the style, ``--c0`` to ``--c9``.
NUM_COLOURS = 10
_WIDTH, _HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 10, 42
#: Points of a line beyond which some are left out, and points up to which each has a mark.
_MOST, _MARKED = 500, 40
_DASHES = ("", "7 4", "2 3", "9 3 2 3")


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: Name in the legend; "" leaves it out.
        points: (x, y) of each point, by x.
        colour: Number of a colour; None takes the place in the chart.
        faint: Whether it is only the background of another line.
        dashed: Whether it is dashed.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: int | None = None
    faint: bool = False
    dashed: bool = False


def line_chart(
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    description: str,
    y_range: tuple[float, float] | None = None,
    logarithmic: bool = False,
) -> Html:
    """Draw lines over a common axis, with a legend above.

    Points that are not finite are left out, which the caller's text may say.

    Args:
        lines: The lines.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.
        description: What the chart shows, for readers who cannot see it.
        y_range: Ends of the vertical axis; the values' own by default.
        logarithmic: Whether the vertical axis is; values that are not positive are left out.
    """
    drawn = [(line, _kept(line.points, logarithmic)) for line in lines]
    drawn = [(line, points) for line, points in drawn if points]
    if not drawn:
        return Html("<p class=muted>No values were recorded.</p>")
    xs = [x for _, points in drawn for x, _ in points]
    ys = [y for _, points in drawn for _, y in points]
    low, high = y_range or (min(ys), max(ys))
    x_axis = _Axis(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT)
    y_axis = _Axis(low, high, _HEIGHT - _BOTTOM, _TOP, logarithmic=logarithmic, roomy=not y_range)
    parts = [*_grid(x_axis, y_axis), *_labels(x_label, y_label)]
    for place, (line, points) in enumerate(drawn):
        parts.append(_path(line, place, [(x_axis.at(x), y_axis.at(y)) for x, y in points], points))
    said = escape(description)
    picture = (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{said}">'
        f"<title>{said}</title>{''.join(parts)}</svg>"
    )
    return Html(f"<figure>{_legend([line for line, _ in drawn])}{picture}</figure>")


class _Axis:
    """Maps values to pixels, and chooses round values to name."""

    def __init__(
        self,
        low: float,
        high: float,
        start: float,
        end: float,
        *,
        logarithmic: bool = False,
        roomy: bool = False,
    ) -> None:
        self._logarithmic, self._start, self._end = logarithmic, start, end
        if logarithmic:
            low, high = math.log10(low), math.log10(high)
        if low == high:
            low, high = low - (abs(low) or 1) * 0.1, high + (abs(high) or 1) * 0.1
        room = 0.04 * (high - low) if roomy else 0.0
        # A curve of losses or scores does not go below the 0 that it stops at.
        floor = 0.0 if not logarithmic and low >= 0 else -math.inf
        self._low, self._high = max(low - room, floor), high + room

    def at(self, value: float) -> float:
        value = math.log10(value) if self._logarithmic else value
        share = (value - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        if self._logarithmic and self._high - self._low >= 1:
            powers = range(math.ceil(self._low), math.floor(self._high) + 1)
            return [10.0**power for power in powers][:: max(1, len(powers) // 6)]
        low, high = self._low, self._high
        if self._logarithmic:
            low, high = 10**low, 10**high
        rough = (high - low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough)
        first = math.ceil(low / step - 1e-9)
        return [step * number for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _kept(points: Sequence[tuple[float, float]], positive: bool) -> list[tuple[float, float]]:
    finite = [
        (x, y)
        for x, y in points
        if math.isfinite(x) and math.isfinite(y) and (y > 0 or not positive)
    ]
    step = max(1, math.ceil(len(finite) / _MOST))
    return [*finite[:-1:step], finite[-1]] if len(finite) > 1 else finite


def _grid(x_axis: _Axis, y_axis: _Axis) -> list[str]:
    parts = []
    bottom = _HEIGHT - _BOTTOM
    for value in y_axis.ticks():
        y = y_axis.at(value)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    for value in x_axis.ticks():
        x = x_axis.at(value)
        text = f"{value:.10g}" if abs(value) < 1e6 else f"{value:.3g}"
        parts.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{text}</text>')
    parts.append(f'<path d="M{_LEFT} {bottom}H{_WIDTH - _RIGHT}" style="stroke:var(--muted)"/>')
    return parts


def _labels(x_label: str, y_label: str) -> list[str]:
    middle = _TOP + (_HEIGHT - _TOP - _BOTTOM) / 2
    x_middle = _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2
    return [
        f'<text x="{x_middle:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>',
        f'<text transform="translate(13 {middle:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>",
    ]


def _path(
    line: Line,
    place: int,
    pixels: Sequence[tuple[float, float]],
    points: Sequence[tuple[float, float]],
) -> str:
    colour = _colour(line, place)
    look = f"stroke:{colour};stroke-width:{1 if line.faint else 2}"
    look += ";opacity:.35" if line.faint else ""
    dash = _DASHES[1] if line.dashed else _dashes(line, place)
    look += f";stroke-dasharray:{dash}" if dash else ""
    text = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in pixels)
    parts = [f'<path d="{text}" style="{look}" stroke-linejoin="round"/>']
    if len(pixels) <= _MARKED and not line.faint:
        for (x, y), (at, value) in zip(pixels, points, strict=True):
            tip = escape(f"{line.name} {value:.4g} at {at:g}".strip())
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" style="fill:{colour}">'
                f"<title>{tip}</title></circle>"
            )
    return "".join(parts)


def _legend(lines: Sequence[Line]) -> str:
    named = [(place, line) for place, line in enumerate(lines) if line.name]
    if not named:
        return ""
    entries = ""
    for place, line in named:
        dashed = line.dashed or _dashes(line, place)
        look = f"border-color:{_colour(line, place)}" + (";border-top-style:dashed" * bool(dashed))
        look += ";opacity:.5" * line.faint
        entries += f'<span><span class="key" style="{look}"></span>{escape(line.name)}</span>'
    return f'<div class="legend">{entries}</div>'


def _number(line: Line, place: int) -> int:
    return place if line.colour is None else line.colour


def _colour(line: Line, place: int) -> str:
    return f"var(--c{_number(line, place) % NUM_COLOURS})"


def _dashes(line: Line, place: int) -> str:
    """Tell apart lines beyond the number of colours."""
    return _DASHES[_number(line, place) // NUM_COLOURS % len(_DASHES)]
