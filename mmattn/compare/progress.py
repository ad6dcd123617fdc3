"""What is shown while runs go on: one live line on a terminal, one line per finished run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta


class Progress:
    """Counts runs.

    Args:
        runs: How many there are.
        say: Told of every finished run.
    """

    def __init__(self, runs: int, say: Callable[[str], None]):
        self.runs = runs
        self.say = say
        self.number = 0
        # Standard output is a file while mmengine runs.
        self.terminal = sys.stdout if sys.stdout.isatty() else None

    @contextmanager
    def run(self, what: str) -> Iterator[_Run]:
        """One run; ``what`` is it."""
        self.number += 1
        shown = _Run(self, f"[{self.number:>{len(str(self.runs))}}/{self.runs}] {what}")
        try:
            yield shown
        finally:
            shown.clear()


class _Run:
    def __init__(self, progress: Progress, head: str):
        self.progress = progress
        self.head = head
        self.begun: tuple[int, float] | None = None

    def update(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` iterations are done."""
        now = time.perf_counter()
        if self.begun is None:
            self.begun = (done, now)
        first, begin = self.begun
        left = (now - begin) / max(done - first, 1) * (total - done)
        if self.progress.terminal is not None:
            line = f"{self.head}  iter {done}/{total}  left {timedelta(seconds=int(left))}"
            self.progress.terminal.write(f"\r\x1b[K{line}")
            self.progress.terminal.flush()

    def clear(self) -> None:
        if self.progress.terminal is not None:
            self.progress.terminal.write("\r\x1b[K")
            self.progress.terminal.flush()

    def done(self, outcome: str, seconds: float) -> None:
        """Say what came out."""
        before = "" if self.begun else "  (was finished before)"
        self.progress.say(f"{self.head}: {outcome}  {seconds:.0f} s{before}")
