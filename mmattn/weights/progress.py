"""One line that tells how far a download has come; nothing where the output is no terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType

_EVERY = 0.2  # seconds


class ProgressLine:
    """A line in the terminal that is written over; ``with`` clears it at the end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shown = bool(sys.stderr and sys.stderr.isatty())
        self._start: tuple[float, int] | None = None
        self._last = 0.0

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown and self._start:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def __call__(self, done: int, total: int | None) -> None:
        """Show the bytes so far, of ``total`` if that is known."""
        now = time.monotonic()
        if self._start is None:
            self._start = now, done
        if not self._shown or now - self._last < _EVERY:
            return
        self._last = now
        begun, before = self._start
        rate = (done - before) / max(now - begun, 1e-3)
        sys.stderr.write(f"\r\x1b[K{progress_text(self._name, done, total, rate)}")
        sys.stderr.flush()


def progress_text(name: str, done: int, total: int | None, rate: float) -> str:
    """Return the line, such as ``resnet50: 45 % of 97.8 MB, 3.1 MB/s``.

    Args:
        name: What is downloaded.
        done: Bytes so far.
        total: All bytes, if that is known.
        rate: Bytes per second.
    """
    share = f"{megabytes(done)}" if not total else f"{100 * done // total} % of {megabytes(total)}"
    return f"{name}: {share}, {megabytes(rate)}/s"


def megabytes(count: float) -> str:
    """Return bytes as text, such as ``97.8 MB``."""
    return f"{count / 1e6:.1f} MB"
