"""Read archives, and folders that were unpacked from them, without trusting what they say.

A name that leads out of the folder, or one that stands in the archive twice, refuses the archive;
so do more bytes than an archive of its size holds in earnest. Links and devices are left out.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from mmattn.data.archives import archive_kind
from mmattn.errors import DataError, StorageError, one_line
from mmattn.io.byte_counts import bytes_in_words

from .source_file import SourceFile

#: An archive may hold this many times its own size, and that much in any case. Archives of images
#: hold about their own size, those of annotations ten times as much.
_LARGEST_RATIO, _ALWAYS_ALLOWED = 100, 2**28


class Source(Protocol):
    """An archive, or the folder that it was unpacked into.

    Attributes:
        path: Where it is.
        left_out: Number of links and devices in it, which are never unpacked.
    """

    path: Path
    left_out: int

    def sizes(self) -> dict[str, int]:
        """Return the size in bytes of each file, by its name below ``top``."""
        ...

    def each(self, names: Collection[str]) -> Iterator[tuple[str, IO[bytes]]]:
        """Yield the named files in the order of the archive, opened for reading."""
        ...


def open_source(path: Path, top: str = "", holds: tuple[str, ...] = ()) -> Source:
    """Open an archive or a folder, and look at the names in it.

    Args:
        path: The archive or folder.
        top: Pattern of the folders at the top that are dropped; a folder needs none of them.
        holds: Patterns that must have a name each.

    Raises:
        DataError: It is damaged, dangerous, no archive, or the archive of something else.
    """
    if path.is_dir():
        return _Folder(path)
    kind = archive_kind(str(path))
    with damage(path), open(path, "rb") as file:
        start = file.read(2)
    if kind not in ("zip", "tar") or (kind == "zip" and start != b"PK"):
        raise DataError(
            f"{path} is not a zip or tar archive (it begins with {start!r}). An error page saved "
            "in the archive's place looks like that: delete it and get it again"
        )
    source = _Zip(path, top) if kind == "zip" else _Tar(path, top)
    missing = missing_patterns(source.sizes(), holds)
    if missing:
        found = ", ".join(source.beginnings) or "nothing"
        expected = ", ".join(top + pattern for pattern in missing)
        raise DataError(
            f"{path} has no {expected}, but {found}: it is another archive than its name says, or "
            "only a part of it. Get the file again"
        )
    return source


def missing_patterns(names: Collection[str], patterns: tuple[str, ...]) -> list[str]:
    """Return those of ``patterns`` that no name has."""
    return [p for p in patterns if not any(fnmatchcase(name, p) for name in names)]


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path, self.left_out = path, 0
        self._sizes = self._read()

    def sizes(self) -> dict[str, int]:
        return self._sizes

    def _read(self) -> dict[str, int]:
        found, seen = {}, set()
        for folder, folders, files in os.walk(self.path, followlinks=True):
            place = os.path.realpath(folder)  # images are often linked from another disk
            if place in seen:
                folders.clear()
                continue
            seen.add(place)
            for file in files:
                place = Path(folder, file)
                if place.is_symlink():
                    self.left_out += 1
                elif place.is_file():
                    found[place.relative_to(self.path).as_posix()] = place.stat().st_size
        return found

    def each(self, names: Collection[str]) -> Iterator[tuple[str, IO[bytes]]]:
        for name in sorted(names):
            with open(self.path / name, "rb") as file:
                yield name, file


class _Archive:
    """Names and sizes of an archive's files, checked.

    Attributes:
        path: The archive.
        beginnings: First names of what is at its top, for messages.
        left_out: Number of links and devices.
    """

    def __init__(self, path: Path, top: str) -> None:
        self.path = path
        self.left_out = 0
        self._top = [part for part in top.split("/") if part]
        self._limit = max(_ALWAYS_ALLOWED, _LARGEST_RATIO * path.stat().st_size)
        self._total = 0
        self._sizes: dict[str, int] = {}
        self._beginnings: dict[str, None] = {}

    @property
    def beginnings(self) -> list[str]:
        return list(self._beginnings)[:5]

    def sizes(self) -> dict[str, int]:
        return self._sizes

    def _add(self, raw: str, size: int, *, ordinary: bool) -> str | None:
        """Check a member; returns its name below ``top``, None if it is none of the files there."""
        name = safe_name(raw, self.path)
        self._total += size
        if self._total > self._limit:
            raise DataError(
                f"{self.path} would unpack to more than {bytes_in_words(self._limit)}, from "
                f"{bytes_in_words(self.path.stat().st_size)}: no dataset is packed like that, so "
                "it is refused. Get the file again from where the dataset is published"
            )
        parts = PurePosixPath(name).parts
        self._beginnings.setdefault("/".join(parts[:2]))
        head = parts[: len(self._top)]
        if len(parts) <= len(self._top) or not all(map(fnmatchcase, head, self._top)):
            return None
        if not ordinary:
            self.left_out += 1
            return None
        below = "/".join(parts[len(self._top) :])
        if below in self._sizes:
            raise DataError(f"{self.path} has {raw!r} twice; get the file again")
        self._sizes[below] = size
        return below


class _Zip(_Archive):
    def __init__(self, path: Path, top: str) -> None:
        super().__init__(path, top)
        self._members: dict[str, zipfile.ZipInfo] = {}
        with damage(path), zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.is_dir():
                    safe_name(info.filename, path)
                    continue
                kind = info.external_attr >> 28  # 0 where it was packed on Windows, 8 for a file
                name = self._add(info.filename, info.file_size, ordinary=kind in (0, 8))
                if name is not None:
                    if info.flag_bits & 1:
                        raise DataError(f"{path}: {info.filename} is encrypted; unpack it yourself")
                    self._members[name] = info

    def each(self, names: Collection[str]) -> Iterator[tuple[str, IO[bytes]]]:
        chosen = sorted(names, key=lambda name: self._members[name].header_offset)
        with damage(self.path), zipfile.ZipFile(self.path) as archive:
            for name in chosen:
                with archive.open(self._members[name]) as file:
                    yield name, file


class _Tar(_Archive):
    def __init__(self, path: Path, top: str) -> None:
        super().__init__(path, top)
        self._raw: dict[str, str] = {}  # as the archive has it -> below ``top``
        with damage(path), tarfile.open(path) as archive:
            for member in archive:
                if member.isdir():
                    safe_name(member.name, path)
                    continue
                name = self._add(member.name, member.size, ordinary=member.isreg())
                if name is not None:
                    self._raw[member.name] = name

    def each(self, names: Collection[str]) -> Iterator[tuple[str, IO[bytes]]]:
        wanted = set(names)
        with damage(self.path), tarfile.open(self.path) as archive:
            for member in archive:
                name = self._raw.get(member.name)
                if name in wanted and member.isreg():
                    file = archive.extractfile(member)
                    assert file is not None  # it is a regular file
                    yield name, file


def safe_name(raw: str, path: Path) -> str:
    """Return the name of a member with slashes, if it stays inside of the folder.

    Raises:
        DataError: It is absolute, has ``..``, a drive or a control character.
    """
    name = raw.replace("\\", "/")
    parts = PurePosixPath(name).parts
    if (
        name.startswith("/")
        or ".." in parts
        or (parts and ":" in parts[0])
        or any(ord(c) < 32 for c in name)
    ):
        raise DataError(
            f"{path} has a member {raw!r}, which leads out of the folder that it is unpacked into: "
            "the archive is refused as a whole. Get it from where the dataset is published"
        )
    return "/".join(parts)


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """Turn what archives raise that are damaged, or cannot be read, into a DataError."""
    damaged: tuple[type[Exception], ...] = (
        *(zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError),
        *(NotImplementedError, OSError),
    )
    try:
        yield
    except (DataError, StorageError):  # the latter is of what was being written
        raise
    except damaged as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        raise DataError(
            f"{path} is damaged or cut off ({one_line(error)}); it has "
            f"{bytes_in_words(path.stat().st_size)}. Delete it and get it again"
        ) from error


def matching(file: SourceFile, folder: Path) -> Path | None:
    """Return where ``folder`` holds what ``file`` unpacks to, or None.

    That is the folder itself, or the archive's top folders in it.
    """
    if not file.holds or not folder.is_dir():
        return None
    places = [folder]
    parts = [part for part in file.top.split("/") if part]
    for start in range(len(parts)):
        places += [p for p in sorted(folder.glob("/".join(parts[start:]))) if p.is_dir()]
    for place in places:
        if all(any(place.glob(pattern)) for pattern in file.holds):
            return place
    return None
