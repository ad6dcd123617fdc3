"""Errors of the disk, told with the file and the bytes that it needs."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from mmattn.errors import StorageError

#: Errors of the system that say something about a disk or its limits, not about the program.
STORAGE_ERRNOS = frozenset(
    getattr(errno, name)
    for name in (
        "ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "EACCES", "EPERM", "EMFILE", "ENFILE",
        "ENAMETOOLONG", "ESTALE", "ENODEV", "ENXIO",
    )
    if hasattr(errno, name)
)  # fmt: skip
_OUT_OF_SPACE = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG")}
_OF_THE_DISK = {getattr(errno, name, None) for name in ("EIO", "ESTALE", "ENODEV", "ENXIO")}


@contextlib.contextmanager
def telling_storage_errors(
    path: str | os.PathLike[str], needed: int | Callable[[], int]
) -> Iterator[None]:
    """Turn the system's errors inside into ``StorageError``.

    Args:
        path: File that is written inside.
        needed: Bytes of the file, or what counts them once they are asked for.

    Raises:
        StorageError: The file cannot be written; the message names it, the bytes that it needs and
            those that are free.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        count = needed if isinstance(needed, int) else needed()
        raise storage_error(error, path, count) from error


def storage_error(
    error: OSError,
    path: str | os.PathLike[str] | None = None,
    needed: int | None = None,
    *,
    instead: str = "give another --work-dir",
) -> StorageError:
    """Return what ``error`` says about a file that is written, with the fix.

    Args:
        error: The system's error.
        path: The file; by default that of the error.
        needed: Its bytes.
        instead: What else helps: how another folder is given.
    """
    place = path or error.filename or "a file of the run"
    text = f"{place}: cannot be written: {error.strerror or error}"
    if path is not None and needed is not None:
        text += f"; it needs {needed:,} bytes{_free(path)}"
    if error.errno in _OUT_OF_SPACE:
        fix = "Make room or raise the limit"
    elif error.errno in (errno.EMFILE, errno.ENFILE):
        fix = "Raise the limit of open files (ulimit -n)"
    elif error.errno in _OF_THE_DISK:
        fix = "Look at the disk or the network behind it"
    else:
        fix = "Make the folder writable"
    return StorageError(f"{text}. {fix}, or {instead}.", error.errno)


def _free(path: str | os.PathLike[str]) -> str:
    folder = Path(path).absolute().parent
    while not folder.exists():
        folder = folder.parent
    try:
        return f", and {shutil.disk_usage(folder).free:,} are free on that disk"
    except OSError:
        return ""
