"""Keep other packages quiet: hide what they log and warn of, or send all they print to a file."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def quiet(
    *loggers: str | logging.Logger, level: int = logging.ERROR, hide_warnings: bool = False
) -> Iterator[None]:
    """Hide messages below ``level`` while the body runs.

    Args:
        loggers: Loggers of other packages, or their names.
        level: Lowest level that is still logged.
        hide_warnings: Ignore Python's warnings too, whoever raises them.

    Example:
        >>> import logging
        >>> with quiet("timm", level=logging.WARNING):
        ...     logging.getLogger("timm").isEnabledFor(logging.INFO)
        False
    """
    found = [logging.getLogger(one) if isinstance(one, str) else one for one in loggers]
    levels = [logger.level for logger in found]
    with contextlib.ExitStack() as stack:
        if hide_warnings:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        for logger in found:
            logger.setLevel(level)
        try:
            yield
        finally:
            for logger, before in zip(found, levels, strict=True):
                logger.setLevel(before)


@contextlib.contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Append all that is printed to a file: Python, mmengine's loggers and compiled libraries."""
    from mmengine.logging import MMLogger

    path.parent.mkdir(parents=True, exist_ok=True)
    handlers = [
        handler
        for logger in MMLogger._instance_dict.values()
        for handler in logger.handlers
        if type(handler) is logging.StreamHandler
    ]
    with (
        path.open("a", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        streams = [handler.stream for handler in handlers]
        for handler in handlers:
            handler.stream = file  # not setStream(): it flushes the old one, which may be closed
        errors = os.dup(2)  # where libraries that are not Python write
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(errors, 2)
            os.close(errors)
            for handler, stream in zip(handlers, streams, strict=True):
                handler.stream = stream
