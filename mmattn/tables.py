"""Tables of text: in Markdown for reports, and in plain columns for a terminal or a log."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len


def markdown_table(
    head: Sequence[str], rows: Sequence[Sequence[object]], *, align: str = ""
) -> str:
    """Write a Markdown table whose columns are padded, so that its source reads well too.

    Args:
        head: Names of the columns.
        rows: Cells of each row, as many as ``head`` has; what is not text goes through ``str``. A
            vertical bar inside a cell is escaped.
        align: One letter for each column, ``l`` (left) or ``r`` (right); by default all left.

    Returns:
        The lines of the table, without a newline at the end.

    Raises:
        ValueError: A row, or ``align``, has another number of columns than ``head``.
    """
    lines = [[cell.replace("|", r"\|") for cell in line] for line in _as_text(head, rows)]
    align = _alignment(head, align)
    padded = [f"| {' | '.join(cells)} |" for cells in _padded(lines, align)]
    rules = [
        "-" * (width + 1) + (":" if side == "r" else "-")
        for width, side in zip(_widths(lines), align, strict=True)
    ]
    return "\n".join([padded[0], f"|{'|'.join(rules)}|", *padded[1:]])


def text_table(head: Sequence[str], rows: Sequence[Sequence[object]], *, align: str = "") -> str:
    """Write a table in plain columns, two spaces apart, with a rule below the head.

    The arguments, the result and the errors are those of ``markdown_table``; vertical bars stay as
    they are.
    """
    lines = _as_text(head, rows)
    rules = ["-" * width for width in _widths(lines)]
    padded = _padded([lines[0], rules, *lines[1:]], _alignment(head, align))
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def _as_text(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[list[str]]:
    """The head and the rows as text."""
    lines = [[str(cell) for cell in line] for line in (head, *rows)]
    for line in lines:
        if len(line) != len(head):
            raise ValueError(f"the row {line} has {len(line)} cells, the table {len(head)} columns")
    return lines


def _alignment(head: Sequence[str], align: str) -> str:
    align = align or "l" * len(head)
    if len(align) != len(head) or set(align) - set("lr"):
        raise ValueError(f"align={align!r}: expected {len(head)} letters, each l or r")
    return align


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(*lines, strict=True)]


def _padded(lines: Sequence[Sequence[str]], align: str) -> list[list[str]]:
    """All cells of a column with the same width on a screen, where some letters take two places."""
    widths = _widths(lines)
    result = []
    for line in lines:
        spaces = [" " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True)]
        result.append(
            [
                space + cell if side == "r" else cell + space
                for cell, space, side in zip(line, spaces, align, strict=True)
            ]
        )
    return result
