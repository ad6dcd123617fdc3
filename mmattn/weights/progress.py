"""One line that tells how far a download has come; nothing where the output is no terminal."""

from __future__ import annotations

import time

from mmattn.io.byte_counts import bytes_in_words
from mmattn.io.terminal_line import TerminalLine


class ProgressLine(TerminalLine):
    """A line that tells the bytes of a download and their rate."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._start: tuple[float, int] | None = None

    def __call__(self, done: int, total: int | None) -> None:
        """Show the bytes so far, of ``total`` if that is known."""
        now = time.monotonic()
        if self._start is None:
            self._start = now, done
        if self.is_due:
            begun, before = self._start
            rate = (done - before) / max(now - begun, 1e-3)
            self.write(progress_text(self._name, done, total, rate))


def progress_text(name: str, done: int, total: int | None, rate: float) -> str:
    """Return the line, such as ``resnet50: 45 % of 97.8 MB, 3.1 MB/s``.

    Args:
        name: What is downloaded.
        done: Bytes so far.
        total: All bytes, if that is known.
        rate: Bytes per second.
    """
    share = f"{100 * done // total} % of {bytes_in_words(total)}" if total else bytes_in_words(done)
    return f"{name}: {share}, {bytes_in_words(rate)}/s"
