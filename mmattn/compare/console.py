"""Output of other libraries, sent to a file while a comparison shows its own few lines."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

#: File in a run's folder that holds what was printed.
CONSOLE = "console.txt"


@contextmanager
def quiet(path: Path) -> Iterator[None]:
    """Send all that is printed to a file: mmengine prints hundreds of lines for each run."""
    from mmengine.logging import MMLogger

    path.parent.mkdir(parents=True, exist_ok=True)
    handlers = [
        handler
        for logger in MMLogger._instance_dict.values()
        for handler in logger.handlers
        if type(handler) is logging.StreamHandler
    ]
    with path.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
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
