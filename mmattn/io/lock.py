"""A lock between processes, also of several users of one disk; the system frees it with its owner.

The second process waits, as for a file that the first one downloads, or is refused.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from .storage import storage_error


@contextlib.contextmanager
def locked(
    path: Path, waiting: Callable[[], None], *, instead: str = "give another folder"
) -> Iterator[None]:
    """Hold the lock of a file, which is made if it is missing.

    Args:
        path: File of the lock; it stays.
        waiting: Called once where another process holds the lock; what it raises ends the wait.
        instead: What else helps where the folder cannot be written, for the message.

    Raises:
        StorageError: The folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    except OSError as error:
        raise storage_error(error, path, instead=instead) from error
    try:
        if not _take(descriptor, wait=False):
            waiting()
            _take(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)  # which frees the lock


if os.name == "nt":
    import msvcrt
    import time

    def _take(descriptor: int, *, wait: bool) -> bool:
        while True:
            try:
                os.lseek(descriptor, 0, os.SEEK_SET)
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                return True
            except OSError:
                if not wait:
                    return False
                time.sleep(0.2)

else:
    import fcntl

    def _take(descriptor: int, *, wait: bool) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True
