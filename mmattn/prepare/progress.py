"""Progress of a long step: one line that changes in a terminal, few lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable

from mmattn.io.byte_counts import bytes_in_words
from mmattn.io.terminal_line import TerminalLine

_IN_LOG = 30.0  # seconds between two lines


class Progress(TerminalLine):
    """Tell how much of a step is done.

    Args:
        label: What is done.
        total: Bytes in all.
        say: Called with a line for the log, where the output is no terminal.
    """

    def __init__(self, label: str, total: int, say: Callable[[str], None]) -> None:
        super().__init__()
        self.label, self.total, self.done = label, total, 0
        self._say = say
        self._told = time.monotonic()

    def reach(self, done: int, total: int | None) -> None:
        """Tell how many bytes are done in all, of how many if that is known."""
        self.total = total or self.total
        self.add(done - self.done)

    def add(self, count: int) -> None:
        """Add bytes that are done."""
        self.done += count
        if self.is_due:
            self.write(self._text())
        elif not self.shown and time.monotonic() - self._told >= _IN_LOG:
            self._told = time.monotonic()
            self._say(self._text())

    def _text(self) -> str:
        share = f"{min(self.done / self.total, 1):4.0%} of " if self.total else ""
        return f"  {self.label}: {share}{bytes_in_words(self.total or self.done)}"
