"""One line of the terminal that is written over, for the progress of bytes."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TypeVar

_EVERY = 0.2  # seconds between two texts
_Line = TypeVar("_Line", bound="TerminalLine")


class TerminalLine:
    """A line on standard error; ``with`` clears it at the end.

    Attributes:
        shown: Whether standard error is a terminal; nothing is written where it is none.
    """

    def __init__(self) -> None:
        self.shown = bool(sys.stderr and sys.stderr.isatty())
        self._last = 0.0
        self._written = False

    def __enter__(self: _Line) -> _Line:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._written:
            self._write("")

    @property
    def is_due(self) -> bool:
        """Whether a new text would be written."""
        return self.shown and time.monotonic() - self._last >= _EVERY

    def write(self, text: str) -> None:
        """Write a text in the place of the last one."""
        self._last = time.monotonic()
        self._written = True
        self._write(text)

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
