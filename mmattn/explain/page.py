"""The page of an explanation: figures, numbers and command in one file."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmattn.reports.html import components as part
from mmattn.reports.html.page import Report

from .summary import Table

#: Most figures on a page, which holds all of them.
MOST = 50


def write_page(
    path: Path,
    figures: Sequence[tuple[str, Path]],
    tables: Sequence[Table],
    notes: Sequence[str],
    command: str,
) -> Path:
    """Write figures as one HTML file with everything inside.

    Args:
        path: File to write.
        figures: What is explained, and the file of its figure.
        tables: Tables of numbers.
        notes: Sentences about the numbers.
        command: Command that asked for it, "" where a program did.

    Returns:
        The file.
    """
    count = f"{len(figures)} image{'s' * (len(figures) != 1)}"
    left_out = f", of which the first {MOST} are shown" if len(figures) > MOST else ""
    report = Report("Explanation", f"What predictions rest on: {count}{left_out}.")
    for title, figure in figures[:MOST]:
        report.section(title, part.plot(_uri(figure), f"{title}: maps over the image"))
    numbers = [parts for table in tables for parts in _table(table)]
    report.section("Numbers", *numbers, *map(part.paragraph, notes))
    if command:
        report.section("Command", part.code(command))
    return report.write(path)


def _table(table: Table) -> Iterator[str]:
    if table.title:
        yield part.heading(table.title)
    flush_right = [column for column, side in enumerate(table.align) if side == "r"]
    yield part.table(table.head, table.rows, numbers=flush_right)


def _uri(figure: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(figure.read_bytes()).decode("ascii")
