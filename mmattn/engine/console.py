"""What a run shows on the terminal: little before its first step; the log file has all of it."""

from __future__ import annotations

import logging
import sys
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from mmattn.reports.harmless import is_harmless

#: Categories of warnings about code, not about what the user gave.
_ABOUT_CODE = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)


class BriefConsole(logging.Filter):
    """Decide which messages reach the terminal, and see that the log file has every one.

    A filter on the handlers that write to the terminal. Until ``first_step`` it lets warnings pass
    only, afterwards everything; what ``is_harmless`` never passes. What came before the log file
    was opened is written into it as its first lines.

    Args:
        warnings: Largest number of warnings that are shown before the first step, so that a first
            screen stays one; None for all of them.
    """

    def __init__(self, warnings: int | None = None) -> None:
        super().__init__()
        self.before_first_step = True
        self._warnings = warnings
        self._shown = 0
        self._held: list[str] = []
        # Processes that have no log file keep the last ones only.
        self._early: deque[logging.LogRecord] = deque(maxlen=1000)
        self._files: list[logging.Handler] = []
        self._filtered: list[logging.Handler] = []
        self._told: set[str] = set()

    def first_step(self) -> None:
        """Let everything pass from now on, but what is harmless."""
        self.before_first_step = False
        self.tell_rest()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record of mmengine's loggers goes to the terminal."""
        text = record.getMessage()
        harmless = record.levelno < logging.ERROR and is_harmless(text)
        hidden = harmless or (self.before_first_step and record.levelno < logging.WARNING)
        if not hidden and record.levelno == logging.WARNING:
            hidden = not self._has_room(text)
        if not self._files:
            self._early.append(record)
        return not hidden

    def is_new(self, warning: str) -> bool:
        """Return whether the terminal has not shown a warning yet; from now on it has.

        Datasets and models are built several times, to be checked and to be used. mmengine's own
        loggers show a warning once by themselves.
        """
        text = " ".join(warning.split())
        known = text in self._told
        self._told.add(text)
        return not known

    def _has_room(self, warning: str) -> bool:
        """Return whether a warning may be shown; one that may not is kept for ``hide_rest``."""
        if not self.before_first_step or self._warnings is None or self._shown < self._warnings:
            self._shown += 1
            return True
        self._held.append(warning)
        return False

    def hide_rest(self) -> int:
        """Leave the warnings that were not shown to the log file; returns how many these are."""
        if not self._files:
            return 0
        count = len(self._held)
        self._held.clear()
        return count

    def tell(self, warning: str) -> None:
        """Show a warning that has not been shown, where there is room for it."""
        if self.is_new(warning) and self._has_room(warning):
            _tell(warning)

    def tell_rest(self) -> None:
        """Show what was held back, where no screen has said that the log file has it."""
        for warning in self._held:
            _tell(warning)
        self._held.clear()

    def attach(self, logger: logging.Logger) -> None:
        """Filter what a logger of mmengine writes to the terminal."""
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                self._files.append(handler)
                for record in self._early:
                    handler.handle(record)
                self._early.clear()
            elif isinstance(handler, logging.StreamHandler):
                handler.addFilter(self)
                self._filtered.append(handler)

    def detach(self) -> None:
        """Take the filter off again."""
        for handler in self._filtered:
            handler.removeFilter(self)

    def write_to_file(self, text: str, level: int = logging.INFO) -> None:
        """Write a message into the log file, now or when there is one."""
        record = logging.makeLogRecord(
            {"name": "mmengine", "msg": text, "levelno": level,
             "levelname": logging.getLevelName(level)}
        )  # fmt: skip
        if not self._files:
            self._early.append(record)
        for handler in self._files:
            handler.handle(record)

    def warn(self, message, category, filename, lineno, file=None, line=None) -> None:
        """Take the place of ``warnings.showwarning``."""
        whole = warnings.formatwarning(message, category, filename, lineno, line)
        self.write_to_file(whole.rstrip(), logging.WARNING)
        text = " ".join(str(message).split())
        if issubclass(category, _ABOUT_CODE) or is_harmless(text):
            return
        self.tell(f"warning: {text}")


@contextmanager
def brief_console(warnings_shown: int | None = None) -> Iterator[BriefConsole]:
    """Keep the terminal brief while a run is set up and executed.

    Applies to mmengine's loggers, those that exist and those that are made inside, to Python's
    warnings, and to warnings of mmattn's own logger.

    Args:
        warnings_shown: Largest number of warnings before the first step; None for all.
    """
    from mmengine.logging import MMLogger

    console = BriefConsole(warnings_shown)
    for logger in MMLogger._instance_dict.values():
        # Files of runs before are not ours to write to.
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.addFilter(console)
                console._filtered.append(handler)
    original = MMLogger.__init__

    def init(self, *args, **kwargs) -> None:
        original(self, *args, **kwargs)
        console.attach(self)

    ours, to_file = logging.getLogger("mmattn"), _ToFile(console)
    showwarning = warnings.showwarning
    MMLogger.__init__ = init
    warnings.showwarning = console.warn
    ours.addHandler(to_file)
    try:
        yield console
    finally:
        MMLogger.__init__ = original
        warnings.showwarning = showwarning
        ours.removeHandler(to_file)
        console.detach()
        console.tell_rest()


class _ToFile(logging.Handler):
    """Shows warnings of mmattn as Python does without a handler, and puts them into the file."""

    def __init__(self, console: BriefConsole) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self._console.write_to_file(text, record.levelno)
        if not _root_shows_it():
            self._console.tell(text)


def _root_shows_it() -> bool:
    """Return whether somebody has sent all that is logged to the terminal already."""
    return any(
        type(handler) is logging.StreamHandler and handler.stream in (sys.stdout, sys.stderr)
        for handler in logging.getLogger().handlers
    )


def _tell(text: str) -> None:
    from mmengine.dist import is_main_process

    if is_main_process():
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
