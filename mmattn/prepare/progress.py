"""Progress of a long step: one line that changes in a terminal, few lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

from .source_file import bytes_in_words

_IN_TERMINAL, _IN_LOG = 0.2, 30.0  # seconds between two lines


class Progress:
    """Tell how much of a step is done.

    Args:
        label: What is done.
        total: Bytes in all.
        say: Called with a line for the log, where the output is no terminal.
    """

    def __init__(self, label: str, total: int, say: Callable[[str], None]) -> None:
        self.label, self.total, self.done = label, total, 0
        self._say = say
        self._terminal = sys.stderr.isatty()
        self._last = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def reach(self, done: int, total: int | None) -> None:
        """Tell how many bytes are done in all, of how many if that is known."""
        self.total = total or self.total
        self.add(done - self.done)

    def add(self, count: int) -> None:
        """Add bytes that are done."""
        self.done += count
        now = time.monotonic()
        if now - self._last < (_IN_TERMINAL if self._terminal else _IN_LOG):
            return
        self._last = now
        share = f"{min(self.done / self.total, 1):4.0%} of " if self.total else ""
        text = f"  {self.label}: {share}{bytes_in_words(self.total or self.done)}"
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
        else:
            self._say(text)
