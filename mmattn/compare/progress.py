"""Progress of a comparison: one live line on a terminal, one printed line per finished run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


class RunProgress:
    """Numbered runs, and how far the present one is.

    Where standard output is not a terminal, only finished runs are printed.

    Args:
        runs: Number of runs.
        log: Function that prints a line for every finished run.
        console: Terminal to draw on; standard output by default.
    """

    def __init__(self, runs: int, log: Callable[[str], None], console: Console | None = None):
        from rich.console import Console

        self.runs = runs
        self.log = log
        self.number = 0
        # Bound to this stream: while mmengine runs, standard output is a file.
        self.console = console or Console(file=sys.stdout)

    @contextmanager
    def run(self, name: str) -> Iterator[LiveRun]:
        """Show the next run on a live line until the block ends.

        Args:
            name: Name of the run, such as ``SE seed 0``.
        """
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.number += 1
        head = f"[{self.number:>{len(str(self.runs))}}/{self.runs}] {name}"
        progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("iter {task.completed:.0f}/{task.total}  left"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not self.console.is_terminal,
        )
        with progress:
            yield LiveRun(head, progress, self.log)


class LiveRun:
    """One run: its live line, and the line that is printed when it is finished."""

    def __init__(self, head: str, progress, log: Callable[[str], None]):
        self.head = head
        self.log = log
        self._progress = progress
        self._task: int | None = None

    def update(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` iterations are done."""
        if self._task is None:
            # Begins where a resumed run does, or its earlier iterations would count as fast ones.
            self._task = self._progress.add_task(self.head, total=total, completed=done)
        self._progress.update(self._task, completed=done)

    def finish(self, outcome: str, seconds: float) -> None:
        """Print what the run gave and how long it took."""
        before = "" if self._task is not None else "  (was finished before)"
        self.log(f"{self.head}: {outcome}  {seconds:.0f} s{before}")
