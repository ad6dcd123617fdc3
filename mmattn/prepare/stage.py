"""The folder in which a dataset is put together before it takes its place.

Every file appears there when it is complete, and one that is there already is not written again: a
preparation that was killed goes on where it was.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from mmattn.errors import DataError, StorageError
from mmattn.io.byte_counts import bytes_in_words

from .progress import Progress
from .source_file import SourceFile
from .sources import Source, damage, open_source
from .subset import Subset

#: Folder inside of the dataset's while it is prepared.
WORK = ".prepare"
_CHUNK = 2**20
_SPARE = 2**28  # bytes that are left free on the disk

Convert = Callable[[str, bytes], bytes]


class Stage:
    """The folder and the sources that ``DatasetCard.arrange`` works with.

    Args:
        root: Folder of the dataset.
        files: What the dataset is made of.
        places: Name of an archive -> where it, or the folder it was unpacked into, is.
        subset: Part of the dataset that is wanted; None for all.
        say: Called with a line for each thing that is done.
    """

    def __init__(
        self,
        root: Path,
        files: Sequence[SourceFile],
        places: Mapping[str, Path],
        subset: Subset | None,
        say: Callable[[str], None],
    ) -> None:
        self.subset, self.say = subset, say
        self.work = root / WORK
        #: Becomes the dataset.
        self.tree = self.work / "tree"
        self._places = places
        self._files = {file.name: file for file in files}
        self._open: dict[str, Source] = {}

    def source(self, name: str) -> Source:
        """Return an archive of the card, opened and checked."""
        if name not in self._open:
            file: SourceFile = self._files[name]
            self._open[name] = open_source(self._places[name], file.top, file.holds)
            if self._open[name].left_out:
                count = self._open[name].left_out
                self.say(f"  {name}: {count} links and devices are left out")
        return self._open[name]

    def names(self, name: str, start: str = "", end: str = "") -> list[str]:
        """Return the sorted names of an archive's files that begin and end so."""
        sizes = self.source(name).sizes()
        return sorted(n for n in sizes if n.startswith(start) and n.endswith(end))

    def put(
        self,
        source: str | Source,
        files: Mapping[str, str],
        convert: Convert | None = None,
        *,
        base: Path | None = None,
    ) -> None:
        """Write files of an archive to where they belong.

        Args:
            source: The archive.
            files: Name in it -> path in the dataset.
            convert: Makes the new content of the name and the content; copied by default.
            base: Folder of the paths; the dataset by default.

        Raises:
            DataError: The archive is damaged, or has no such file.
            StorageError: The disk is full.
        """
        label = source if isinstance(source, str) else source.path.name
        source = self.source(source) if isinstance(source, str) else source
        sizes, base = source.sizes(), base or self.tree
        lacking = [name for name in files if name not in sizes]
        if lacking:
            raise DataError(
                f"{source.path} has no {lacking[0]}"
                f"{f' and {len(lacking) - 1} more' if len(lacking) > 1 else ''}: it is not the "
                "whole archive, or another one. Get it again"
            )
        todo = {
            name: base / target
            for name, target in files.items()
            if not _is_there(base / target, None if convert else sizes[name])
        }
        total = sum(sizes[name] for name in todo)
        if not todo:
            return
        self._need(total, f"unpack {label}")
        with Progress(f"unpacking {label}", total, self.say) as progress, damage(source.path):
            for name, file in source.each(todo.keys()):
                with storage_errors(todo[name]), _appearing(todo[name]) as out:
                    if convert is None:
                        _copy(file, out, sizes[name], source.path, progress)
                    else:
                        out.write(convert(name, file.read(sizes[name] + 1)))
                        progress.add(sizes[name])

    def write(self, path: str, content: bytes) -> None:
        """Write a file of the dataset that no archive holds."""
        target = self.tree / path
        with storage_errors(target), _appearing(target) as out:
            out.write(content)

    def _need(self, count: int, why: str) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        need_space(self.work, count, why)


def need_space(folder: Path, count: int, why: str) -> None:
    """Raise unless a disk has room for so many bytes.

    Raises:
        StorageError: It has not.
    """
    free = shutil.disk_usage(folder).free
    if count + _SPARE > free:
        raise StorageError(
            f"{folder}: {bytes_in_words(count + _SPARE)} are needed to {why}, and "
            f"{bytes_in_words(free)} are free. Free some, give a --root on another disk, or "
            "prepare a part with --subset",
            errno.ENOSPC,
        )


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a system's error while ``path`` is written into a StorageError."""
    try:
        yield
    except OSError as error:
        if error.errno is None or isinstance(error, StorageError):
            raise
        raise StorageError(
            f"{path} cannot be written: {error.strerror}. What is complete is kept: the same "
            "command goes on",
            error.errno,
        ) from error


@contextlib.contextmanager
def _appearing(target: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes its name when it is complete.

    It is not forced to the disk, as ``atomic_write`` does: of 100,000 files that takes an hour. The
    disk is synchronised once, before the record of the dataset is written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    with open(part, "wb") as file:
        yield file
    os.replace(part, target)


def _is_there(path: Path, size: int | None) -> bool:
    try:
        found = path.stat().st_size
    except OSError:
        return False
    return found == size if size is not None else found > 0


def _copy(file: IO[bytes], out: IO[bytes], size: int, archive: Path, progress: Progress) -> None:
    left = size
    while chunk := file.read(_CHUNK):
        left -= len(chunk)
        if left < 0:
            break
        out.write(chunk)
        progress.add(len(chunk))
    if left:
        raise DataError(
            f"{archive}: a file in it has not the {size} bytes that the archive promises. Delete "
            "the archive and get it again"
        )
