"""Parts of a report: functions from plain values to HTML text.

Whatever comes from a run (names, commands) is escaped here; only ``Html`` passes unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from mmattn.palette import Palette


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> str:
    """Escape ``value``, unless it is HTML already."""
    return value if isinstance(value, Html) else escape(str(value))


def paragraph(value: object, *, muted: bool = False) -> Html:
    """Write a paragraph, in grey if ``muted``."""
    return Html(f"<p{' class=muted' if muted else ''}>{text(value)}</p>")


def heading(value: object) -> Html:
    """Write a heading inside a section."""
    return Html(f"<h3>{text(value)}</h3>")


def columns(*parts: Iterable[str], layout: str = "columns") -> Html:
    """Put groups of parts side by side; ``layout`` is ``"columns"`` or ``"thirds"``."""
    inner = "".join(f"<div>{''.join(group)}</div>" for group in parts)
    return Html(f'<div class="{layout}">{inner}</div>')


def table(
    head: Sequence[object],
    rows: Sequence[Sequence[object]],
    *,
    numbers: Iterable[int] = (),
    total: bool = False,
) -> Html:
    """Write a table.

    Args:
        head: Names of the columns.
        rows: Cells of each row.
        numbers: Indices of the columns that are set flush right.
        total: Whether the last row sums the others up.
    """
    numbers = set(numbers)

    def line(cells: Sequence[object], tag: str, style: str = "") -> str:
        inner = "".join(
            f"<{tag}{' class=number' if column in numbers else ''}>{text(cell)}</{tag}>"
            for column, cell in enumerate(cells)
        )
        return f"<tr{style}>{inner}</tr>"

    body = [line(row, "td") for row in rows]
    if total and rows:
        body[-1] = line(rows[-1], "td", " class=total")
    return Html(f"<table>{line(head, 'th')}{''.join(body)}</table>")


def facts(values: Mapping[str, object]) -> Html:
    """Write names and values, one pair per line."""
    rows = "".join(f"<tr><td>{text(k)}</td><td>{text(v)}</td></tr>" for k, v in values.items())
    return Html(f"<table>{rows}</table>")


def cards(values: Sequence[tuple[object, object, object]]) -> Html:
    """Write (label, value, note) in large type, for what a reader must not miss."""
    inner = "".join(
        f'<div class="card"><span class="label">{text(label)}</span><b>{text(value)}</b>'
        f"<span>{text(note)}</span></div>"
        for label, value, note in values
    )
    return Html(f'<div class="cards">{inner}</div>')


def bar(share: float, *, mark: float | None = None) -> Html:
    """Draw a bar of ``share`` (0 to 1) of the width; ``mark`` is a line to compare it with."""
    share = min(max(share, 0.0), 1.0) if share == share else 0.0
    line = ""
    if mark is not None and mark == mark:
        line = f'<u style="left:calc({100 * min(max(mark, 0.0), 1.0):.1f}% - 1px)"></u>'
    return Html(f'<div class="bar"><i style="width:{100 * share:.1f}%"></i>{line}</div>')


def swatch(colour: Sequence[int], name: object) -> Html:
    """Write a class name behind a patch of its colour."""
    red, green, blue = (int(channel) for channel in colour)
    patch = f'<span class="swatch" style="background:rgb({red},{green},{blue})"></span>'
    return Html(f"{patch}{text(name)}")


def legend(classes: Sequence[str], palette: Palette) -> Html:
    """Write all class names with their colours."""
    entries = "".join(
        f"<span>{swatch(c, name)}</span>" for name, c in zip(classes, palette, strict=True)
    )
    return Html(f'<div class="legend">{entries}</div>')


def image_grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    """Lay out images, given as data URIs, under the names of the columns."""
    inner = "".join(f'<div class="head">{text(name)}</div>' for name in head)
    for row in rows:
        for name, uri in zip(head, row, strict=True):
            inner += f'<img src="{escape(uri)}" alt="{escape(name)}" loading="lazy">'
    width = f"grid-template-columns:repeat({len(head)},1fr)"
    return Html(f'<div class="images" style="{width}">{inner}</div>')


def plot(uri: str, description: str) -> Html:
    """Show a plot, given as a data URI; ``description`` is for readers who cannot see it."""
    return Html(f'<img class="plot" src="{escape(uri)}" alt="{escape(description)}">')


def steps(entries: Sequence[tuple[object, object, str]]) -> Html:
    """Write numbered steps: (title, duration or "", command or "")."""
    inner = ""
    for title, duration, command in entries:
        code = f"<pre>{text(command)}</pre>" if command else ""
        inner += f'<li><span class="time">{text(duration)}</span>{text(title)}{code}</li>'
    return Html(f'<ol class="steps">{inner}</ol>')
