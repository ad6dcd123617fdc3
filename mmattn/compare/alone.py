"""One comparison at a time in a folder: two would train the same runs over each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from mmattn.errors import ConfigError
from mmattn.io.lock import locked

#: File of the lock; it stays, and holds nothing.
RUNNING = ".running"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Refuse a second process while the body runs.

    The system frees the lock of a process that is killed.

    Args:
        folder: Folder of the comparison, which is made if it is missing.

    Raises:
        ConfigError: Another process compares into the folder.
        StorageError: The folder cannot be written.
    """

    def refuse() -> NoReturn:
        raise ConfigError(
            f"{folder}: another process is comparing into this folder. Wait for it, or give "
            "another --work-dir; --report-only reports the runs that are finished."
        )

    with locked(folder / RUNNING, refuse, instead="give another --work-dir"):
        yield
