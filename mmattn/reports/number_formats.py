"""Numbers as people read them: three digits and a unit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


def count(number: float) -> str:
    """Format a number with three digits and a unit: 929139 -> "929 k"."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:g}"


def table_cells(
    columns: Sequence[str], values: Iterable[float], counts: Collection[str]
) -> list[str]:
    """Format a row of a table of classes, nan as a dash.

    Args:
        columns: Names of the columns.
        values: A value for each.
        counts: Columns whose values are shown as they are; others are fractions, shown in percent.
    """
    return [
        "-" if value != value else f"{value:.0f}" if column in counts else f"{100 * value:.1f}"
        for column, value in zip(columns, values, strict=True)
    ]


def file_size(number: int) -> str:
    """Format a number of bytes in MiB, as exports do: 10485760 -> "10.0 MiB"."""
    return f"{number / 2**20:.1f} MiB"


def shape(*sides: int) -> str:
    """Format sizes with multiplication signs between them."""
    return " \u00d7 ".join(map(str, sides))


def duration(seconds: float) -> str:
    """Format seconds below two minutes, then minutes and seconds."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def percent(value: float) -> str:
    """Format the score of a class; nan means that the class does not occur."""
    return f"{value:.1f}" if value == value else "absent"
