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
    return _scrolled(f"<table>{line(head, 'th')}{''.join(body)}</table>")


def _scrolled(table: str) -> Html:
    """Let a table that is wider than the page be moved, so that the page itself stays narrow."""
    return Html(f'<div class="scroll">{table}</div>')


def facts(values: Mapping[str, object]) -> Html:
    """Write names and values, one pair per line."""
    rows = "".join(f"<tr><td>{text(k)}</td><td>{text(v)}</td></tr>" for k, v in values.items())
    return _scrolled(f'<table class="facts">{rows}</table>')


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


def banner(value: object, *, mild: bool = False) -> Html:
    """Write what a reader must see first: an error or, if ``mild``, a remark."""
    return Html(f'<div class="banner{" mild" if mild else ""}" role="note">{text(value)}</div>')


def folded(title: object, *parts: str) -> Html:
    """Write parts that are shown when their title is clicked on."""
    return Html(f"<details><summary>{text(title)}</summary>{''.join(parts)}</details>")


def code(value: object) -> Html:
    """Write a text as it stands, such as a command or a config."""
    return Html(f"<pre>{text(value)}</pre>")


def bullets(values: Iterable[object]) -> Html:
    """Write a list, one value a line."""
    return Html(f'<ul class="list">{"".join(f"<li>{text(value)}</li>" for value in values)}</ul>')


def sheet(uri: str, description: str, caption: object = "") -> Html:
    """Show an image, given as a data URI, with a line below it."""
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    image = f'<img class="sheet" src="{escape(uri)}" alt="{escape(description)}" loading="lazy">'
    return Html(f"<figure>{image}{below}</figure>")


def bars(rows: Sequence[tuple[object, float, object]]) -> Html:
    """Write (name, value, text of the value) with bars, the longest one of the whole width."""
    longest = max((value for _, value, _ in rows if value == value), default=0.0) or 1.0
    lines = "".join(
        f'<tr><td>{text(name)}</td><td class="number">{text(shown)}</td>'
        f'<td style="width:55%">{bar(value / longest)}</td></tr>'
        for name, value, shown in rows
    )
    return _scrolled(f"<table>{lines}</table>")


def matrix(names: Sequence[str], counts: Sequence[Sequence[float]], description: str) -> Html:
    """Write a confusion matrix; a cell's colour is its share of the row, its text the percentage.

    Args:
        names: Names of the rows and columns.
        counts: A row for each name.
        description: What rows and columns are, for the caption.
    """
    head = "".join(f"<th>{text(name)}</th>" for name in names)
    lines = ""
    for name, row in zip(names, counts, strict=True):
        total = sum(row)
        cells = ""
        for column, count in zip(names, row, strict=True):
            share = count / total if total else 0.0
            shown = f"{100 * share:.0f}" if share >= 0.005 else ""
            strong = ' class="strong"' if share > 0.55 else ""
            tip = escape(f"{name} as {column}: {count:g}")
            cells += f'<td{strong} style="--share:{share:.3f}" title="{tip}">{shown}</td>'
        lines += f"<tr><th>{text(name)}</th>{cells}</tr>"
    caption = f"<figcaption>{text(description)}</figcaption>"
    table = f'<table class="matrix"><tr class="top"><th></th>{head}</tr>{lines}</table>'
    return Html(f"<figure>{_scrolled(table)}{caption}</figure>")
