"""The end of an export: files with their sizes and the check, and how to measure and use them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from mmattn.io.byte_counts import bytes_in_words
from mmattn.tables import text_table

from .parity import ParityReport


def size_in_words(file: Path) -> str:
    """Return the size of a file for people."""
    return bytes_in_words(file.stat().st_size)


def files_table(files: Sequence[Path], report: ParityReport) -> str:
    """Return a row for each file: its size, its runtime, and how far it is from torch.

    Args:
        files: The files of the export.
        report: Report of the check, with those of the converted files and of the quantised one.
    """
    checked = {Path(part.file): part for part in report.files}
    rows = []
    for file in files:
        runtime = difference = agreement = "-"
        if part := checked.get(file):
            runtime = part.runtime
            differences = [r.relative for r in part.rows if r.relative is not None]
            difference = f"{max(differences):.1e}" if differences else "-"
            agreement = f"{min(row.agreement for row in part.rows):.3%}"
        elif report.int8 and Path(report.int8.file) == file:
            runtime, change = "int8", report.int8.after - report.int8.before
            agreement = f"{report.int8.metric} {100 * change:+.2f}"
        rows.append([str(file), size_in_words(file), runtime, difference, agreement])
    head = ["file", "size", "run by", "largest relative difference", report.agreement_title]
    return text_table(head, rows, align="lrlrr")


def next_steps(file: Path, shape: Sequence[int], *, dynamic: bool) -> list[str]:
    """Return the commands that measure the speed of an exported file and use it."""
    name = shlex.quote(str(file))
    size = f" --size {shape[0]} {shape[1]}" if dynamic else ""
    return [
        f"speed: mmattn benchmark {name}{size}",
        f"use:   mmattn predict {name} IMAGES --out found",
    ]
