"""Results of a metric per class, as a table for people and as rows for files."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

ABSENT = "absent in ground truth"


@dataclass(frozen=True)
class ClassTable:
    """Values per class; a metric offers its tables in an attribute ``class_tables``.

    Attributes:
        title: Head line, e.g. ``"segmentation"`` or ``"bbox"``.
        columns: Names of the values, e.g. ``("IoU", "Acc")``.
        rows: Class name -> its values, in the order of ``columns``; nan where one is undefined.
        mean: Values over all classes, as the metric itself reports them.
        absent: Names of the classes that no ground truth contains.
        digits: Number of decimals to show.
        note: Remark below the table.
        counts: Columns of whole numbers; their value over all classes is a total.
        summary: Name of the last row.
        rows_are: What a row is of.
    """

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, Sequence[float]]
    mean: Sequence[float]
    absent: frozenset[str] = frozenset()
    digits: int = 2
    note: str = ""
    counts: frozenset[str] = frozenset()
    summary: str = "mean"
    rows_are: str = "class"

    def to_text(self) -> str:
        """Format the table in plain characters, for a log file or a terminal."""
        from rich import box
        from rich.console import Console
        from rich.table import Table

        table = Table(box=box.MARKDOWN)
        table.add_column(self.rows_are, no_wrap=True)
        for column in self.columns:
            table.add_column(column, justify="right", no_wrap=True)
        if self.absent:
            table.add_column("note", no_wrap=True)
        for name, values in self.rows.items():
            note = [ABSENT] if name in self.absent else []
            table.add_row(name, *map(self._format, self.columns, values), *note)
        table.add_row(self.summary, *map(self._format, self.columns, self.mean))
        text = io.StringIO()
        # Never wrapped: a log is read with a pager, and copied into documents.
        Console(file=text, width=10_000, color_system=None, force_terminal=False).print(table)
        lines = (line.rstrip() for line in text.getvalue().splitlines())
        table_text = "\n".join(line for line in lines if line)
        return f"{self.title}, per {self.rows_are}\n{table_text}" + (
            f"\n{self.note}" if self.note else ""
        )

    def records(self) -> Iterator[tuple[str, str, float]]:
        """Yield ``(class, column, value)`` of every cell, the last row as class ``summary``."""
        for name, values in (*self.rows.items(), (self.summary, self.mean)):
            for column, value in zip(self.columns, values, strict=True):
                yield name, column, float(value)

    def _format(self, column: str, value: float) -> str:
        if math.isnan(value):
            return "-"
        return f"{value:.{0 if column in self.counts else self.digits}f}"
