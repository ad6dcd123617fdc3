"""The table of ``mmattn models``: whole, or in the width of a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmattn.tables import text_table

if TYPE_CHECKING:
    from mmattn.config.model_index import ModelEntry

#: Columns of a narrow table behind the name, and the most letters that a cell of it has.
_NARROW = {"task": 11, "data": 14, "parameters": 10, "measured here": 16}
_GAP = 2
_SHORT_DATA = {"a folder of your own": "your folder"}


def wide_table(entries: Sequence[ModelEntry]) -> str:
    """Return the table with every column whole."""
    head = ("short", "name", "task", "data", "parameters", "measured here")
    rows = [
        (e.alias, e.name, e.task, e.data, _millions(e), ", ".join(map(str, e.results)))
        for e in entries
    ]
    return text_table(head, rows, align="llllrl")


def narrow_table(entries: Sequence[ModelEntry], columns: int) -> str:
    """Return the table in at most ``columns`` letters a line.

    A model stands under the shortest name that a command takes. Names are never cut, so that they
    can be copied: one that is too long has a line of its own above the rest of its row.

    Args:
        entries: Models to show.
        columns: Width of the terminal.
    """
    rows = [
        (_short_task(e.task), _SHORT_DATA.get(e.data, e.data), _millions(e), _first_result(e))
        for e in entries
    ]
    cells = [
        [_cut(cell, most) for cell, most in zip(row, _NARROW.values(), strict=True)] for row in rows
    ]
    names = [entry.alias or entry.name for entry in entries]
    widths = [max(map(len, column)) for column in zip(tuple(_NARROW), *cells, strict=True)]
    longest = max(map(len, ("name", *names)))
    room = max(12, columns - sum(widths) - _GAP * len(widths))
    first = min(longest, room)
    head = _row("name", tuple(_NARROW), first, widths)
    rule = _row("-" * first, ["-" * width for width in widths], first, widths)
    lines = [head, rule]
    for name, row in zip(names, cells, strict=True):
        if len(name) > first:
            lines.append(name)
            name = ""
        lines.append(_row(name, row, first, widths))
    return "\n".join(lines)


def _row(name: str, cells: Sequence[str], first: int, widths: Sequence[int]) -> str:
    task, data, parameters, measured = (
        cell.rjust(width) if index == 2 else cell.ljust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return (" " * _GAP).join([name.ljust(first), task, data, parameters, measured]).rstrip()


def _short_task(task: str) -> str:
    """Return the word that tells a task apart: ``semantic``, ``instance``, ``detection``."""
    words = [
        one.removesuffix(" Segmentation").removeprefix("Object ").lower()
        for one in task.split(", ")
    ]
    return ", ".join(words)


def _first_result(entry: ModelEntry) -> str:
    """Return the first number that was measured; "+" where there are more."""
    if not entry.results:
        return ""
    metrics = entry.results[0].metrics
    name, value = next(iter(metrics.items()))
    more = " +" if len(metrics) + len(entry.results) > 2 else ""
    return f"{float(value)} {name}{more}"


def _millions(entry: ModelEntry) -> str:
    if entry.parameters is None:
        return ""
    digits = 2 if entry.parameters < 10e6 else 1
    return f"{entry.parameters / 1e6:.{digits}f} M"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"
