"""Progress on a terminal and elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from mmattn.compare.progress import RunProgress


def show(console: Console) -> list[str]:
    """Go through two runs, of which the first was resumed and the second was finished before."""
    lines: list[str] = []
    progress = RunProgress(12, lines.append, console)
    with progress.run("SE[x] seed 0") as run:
        run.update(20, 40)
        run.update(40, 40)
    run.finish("mIoU 41.2", 12.3)
    with progress.run("CBAM seed 0") as run:
        pass
    run.finish("mIoU 40", 0.1)
    return lines


LINES = [
    "[ 1/12] SE[x] seed 0: mIoU 41.2  12 s",
    "[ 2/12] CBAM seed 0: mIoU 40  0 s  (was finished before)",
]


def test_a_terminal_has_a_live_line_besides() -> None:
    file = io.StringIO()
    assert show(Console(file=file, force_terminal=True, width=100)) == LINES
    shown = file.getvalue()
    assert "[ 1/12] SE[x] seed 0" in shown
    assert "iter 40/40" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h"), "the cursor is back"


def test_a_file_has_only_the_finished_runs() -> None:
    file = io.StringIO()
    assert show(Console(file=file, force_terminal=False)) == LINES
    assert file.getvalue() == ""
