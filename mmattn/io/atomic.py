"""Files that appear only when complete.

A reader, or a process that starts after a crash, sees the old content or the new one, never a part:
the bytes go to a temporary file in the same directory, are forced to the disk, and take the final
name in one step. The directory is forced to the disk too, or a power cut could undo the renaming.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from socket import gethostname
from typing import IO

_counter = itertools.count()


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO]:
    """Open a file for writing that takes the name ``path`` only if the block succeeds.

    Missing parent directories are made. A symbolic link is written through, not replaced. If
    anything fails, the temporary file is removed and what ``path`` held before is untouched.

    Args:
        path: Path of the finished file.
        mode: Mode ``"wb"``, or ``"w"`` for UTF-8 text.

    Yields:
        File to write to.

    Raises:
        OSError: If the file cannot be written, forced to the disk or renamed.

    Example:
        >>> with atomic_write("last_checkpoint", "w") as file:
        ...     _ = file.write("epoch_3.pth")
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"mode must be 'w' or 'wb', got {mode!r}")
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(_temporary_name(target.name))
    # Not tempfile: its files are private to the user, finished files follow the umask.
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        with open(descriptor, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_directory(target.parent)


def sweep_leftovers(directory: str | os.PathLike[str]) -> list[Path]:
    """Remove temporary files that a killed process of this machine left in ``directory``.

    Files of living processes and of other machines, which may share the disk, are kept.

    Returns:
        The removed files.
    """
    removed = []
    for file in Path(directory).glob(".*.tmp"):
        owner = re.fullmatch(r"\..+\.([0-9a-f]{8})-(\d+)-\d+\.tmp", file.name)
        if owner is None or owner[1] != _machine() or _is_alive(int(owner[2])):
            continue
        with contextlib.suppress(OSError):
            file.unlink()
            removed.append(file)
    return removed


def _temporary_name(name: str) -> str:
    # Cut, because a name may have 255 bytes at most and the final one may be that long.
    return f".{name[:150]}.{_machine()}-{os.getpid()}-{next(_counter)}.tmp"


def _machine() -> str:
    return f"{zlib.crc32(gethostname().encode()):08x}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it exists, but is somebody else's
        return True
    return True


def _sync_directory(directory: Path) -> None:
    if os.name == "nt":  # directories cannot be opened there, and need not be
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot do this; the file itself is complete all the same.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
