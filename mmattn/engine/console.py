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
    """

    def __init__(self) -> None:
        super().__init__()
        self.before_first_step = True
        # Processes that have no log file keep the last ones only.
        self._early: deque[logging.LogRecord] = deque(maxlen=1000)
        self._files: list[logging.Handler] = []
        self._filtered: list[logging.Handler] = []
        self._told: set[str] = set()

    def first_step(self) -> None:
        """Let everything pass from now on, but what is harmless."""
        self.before_first_step = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record of mmengine's loggers goes to the terminal."""
        text = record.getMessage()
        harmless = record.levelno < logging.ERROR and is_harmless(text)
        hidden = harmless or (self.before_first_step and record.levelno < logging.WARNING)
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
        if self.is_new(text):
            _tell(f"warning: {text}")


@contextmanager
def brief_console() -> Iterator[BriefConsole]:
    """Keep the terminal brief while a run is set up and executed.

    Applies to mmengine's loggers, those that exist and those that are made inside, to Python's
    warnings, and to warnings of mmattn's own logger (which are always shown).
    """
    from mmengine.logging import MMLogger

    console = BriefConsole()
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


class _ToFile(logging.Handler):
    """Shows warnings of mmattn as Python does without a handler, and puts them into the file."""

    def __init__(self, console: BriefConsole) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self._console.write_to_file(text, record.levelno)
        if self._console.is_new(text) and not _root_shows_it():
            _tell(text)


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
