"""What is printed while a live line is drawn: it goes above that line, and stays as it is.

rich's own stand-in for a stream breaks lines at the width of the terminal, in the middle of paths,
which can then neither be clicked nor copied. A terminal wraps long lines without breaking them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment


class AboveLiveLine:
    """Stands for ``sys.stdout`` or ``sys.stderr`` while a console draws a live line.

    Args:
        console: The console.
        stream: Stream that it stands for, whose other attributes it has.
    """

    def __init__(self, console: Console, stream: TextIO) -> None:
        self._console, self.stream, self._begun = console, stream, ""

    @property
    def rich_proxied_file(self) -> TextIO:
        """The stream, by the name that consoles look for: they write to it, not to its stand-in."""
        return self.stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Print the lines that are complete; the rest waits for its end."""
        *lines, self._begun = (self._begun + text).split("\n")
        if lines:
            self._console.print(_AsItIs("\n".join(lines)), crop=False)
        return len(text)

    def flush(self) -> None:
        """Print what waits for its end."""
        if self._begun:
            text, self._begun = self._begun, ""
            self._console.print(_AsItIs(text), crop=False)


class _AsItIs:
    """Text without markup, colours and breaks of rich's."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        yield Segment(f"{self._text}\n")
