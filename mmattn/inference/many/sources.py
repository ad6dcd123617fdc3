"""A great many images, listed folder by folder: no more names are held than one folder has."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from mmattn.errors import DataError
from mmattn.images import is_image_file
from mmattn.images.frames import is_video
from mmattn.inference.missing import missing_part

from .shard import Shard


@dataclass(frozen=True)
class ListedImage:
    """An image file.

    Attributes:
        file: Path to open it by.
        name: Path below the folder that all images have in common, with ``/``: the name in results.
    """

    file: str
    name: str

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return os.path.splitext(self.name)[0]


@dataclass(frozen=True)
class _Source:
    """A folder or a pattern.

    Attributes:
        text: As it was given.
        folder: The folder, or that which the pattern begins in.
        parts: Parts of the pattern below ``folder``; for a folder ``*`` or ``**``, ``*``.
    """

    text: str
    folder: str
    parts: tuple[str, ...]

    def holds(self, folder: str, name: str) -> bool:
        """Return whether the source lists the file ``name`` of ``folder``."""
        inside = os.path.relpath(os.path.abspath(folder), os.path.abspath(self.folder))
        above = () if inside == "." else PurePath(inside).parts
        return ".." not in above and _fits((*above, name), self.parts)


class ManySources:
    """Images in files, folders and patterns such as ``'photos/**/*.jpg'``.

    Names in a folder come in the order of their characters, sub-folders after files. Hidden files
    and folders are passed over, and links to folders are not followed. What several sources hold
    comes once.

    Args:
        sources: Files, folders and patterns.
        recursive: Take the images in all sub-folders of a folder.

    Attributes:
        base: Folder that names of images are relative to.

    Raises:
        DataError: A path does not exist, or a source is a video.
    """

    def __init__(self, sources: Iterable[str | Path], *, recursive: bool = False) -> None:
        self.recursive = recursive
        self._folders: list[_Source] = []
        self._files: dict[str, dict[str, None]] = {}  # folder -> names in it
        for source in sources:
            self._add(str(source))
        places = [os.path.abspath(source.folder) for source in self._folders]
        places += [os.path.abspath(folder) for folder in self._files]
        self.base = os.path.commonpath(places) if places else ""

    def images(
        self, shard: Shard | None = None, *, different_stems: bool = False
    ) -> Iterator[ListedImage]:
        """Yield the images of a shard, of all by default.

        Args:
            shard: Share of the images.
            different_stems: Refuse images of a folder that differ in their endings alone.

        Raises:
            DataError: No image was found in a folder or fits a pattern, or two images would have
                results of one name.
        """
        shard = shard or Shard()
        for folder, names in self._listed():
            if different_stems:
                _refuse_equal_stems(folder, names)
            inside = os.path.relpath(os.path.abspath(folder), self.base)
            prefix = "" if inside == "." else f"{inside.replace(os.sep, '/')}/"
            shown = "" if folder == "." else os.path.join(folder, "")
            for name in names:
                image = ListedImage(shown + name, prefix + name)
                if shard.owns(image.stem):
                    yield image

    def more_than(self, limit: int) -> bool:
        """Return whether there are more images than ``limit``; further folders are not listed."""
        count = 0
        for _, names in self._listed():
            count += len(names)
            if count > limit:
                return True
        return False

    def refuse_results_among_images(self, out: Path) -> None:
        """Raise a DataError where results in ``out`` would be listed as images."""
        target = os.path.realpath(out)
        for folder, deep in [
            *((source.folder, len(source.parts) > 1) for source in self._folders),
            *((folder, False) for folder in self._files),
        ]:
            place = os.path.realpath(folder)
            if target == place or (deep and target.startswith(os.path.join(place, ""))):
                raise DataError(
                    f"--out {out} is among the images of {folder}: results there would be taken "
                    "for images. Give another folder."
                )

    def _add(self, text: str) -> None:
        path = Path(text)
        if is_video(text):
            raise DataError(
                f"{text} is a video or a camera; predict it by itself, without --format, --shard, "
                "--processes and --recursive"
            )
        if path.is_dir():
            self._folders.append(_Source(text, text, ("**", "*") if self.recursive else ("*",)))
        elif path.is_file():
            self._files.setdefault(os.path.dirname(text) or ".", {})[path.name] = None
        elif glob.has_magic(text):
            parts = path.parts
            first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
            folder = str(PurePath(*parts[:first])) if first else "."
            if not Path(folder).is_dir():
                raise DataError(f"{text}: no image fits this pattern")
            if parts.count("**") > 1:
                raise DataError(f"{text}: a pattern may have one part ** and no more")
            self._folders.append(_Source(text, folder, parts[first:]))
        else:
            raise DataError(f"{text}: no such image or folder; {missing_part(text)}")

    def _listed(self) -> Iterator[tuple[str, list[str]]]:
        """Yield folders and the names of the images in them, each image once."""
        for place, source in enumerate(self._folders):
            found = False
            for folder, names in _fitting(source.folder, source.parts):
                found = found or bool(names)
                yield folder, self._without(self._folders[:place], folder, names)
            if not found:
                raise DataError(_why_none(source))
        for folder, names in self._files.items():
            yield folder, self._without(self._folders, folder, sorted(names))

    @staticmethod
    def _without(others: Sequence[_Source], folder: str, names: list[str]) -> list[str]:
        if not others:
            return names
        return [name for name in names if not any(other.holds(folder, name) for other in others)]


def _why_none(source: _Source) -> str:
    if source.parts == ("*",):
        return f"{source.text} holds no images itself; --recursive takes those of its sub-folders"
    if source.text == source.folder:
        return f"{source.text} and its sub-folders hold no images"
    return f"{source.text}: no image fits this pattern"


def _refuse_equal_stems(folder: str, names: Sequence[str]) -> None:
    import numpy as np

    # Numbers take less room than names: only where two are equal is it looked which they are.
    stems = np.fromiter((hash(os.path.splitext(name)[0]) for name in names), np.int64, len(names))
    if len(np.unique(stems)) == len(names):
        return
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(os.path.splitext(name)[0], name)
        if other != name:
            raise DataError(
                f"{os.path.join(folder, other)} and {os.path.join(folder, name)} would have "
                "results of one name: predict them into two folders"
            )


def _fits(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether the parts of a path fit those of a pattern, of which ``**`` is any number."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        rest = pattern[1:] or ("*",)
        return any(_fits(path[start:], rest) for start in range(len(path)))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and _fits(path[1:], pattern[1:])


def _fitting(folder: str, parts: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the folders in which names fit the parts of a pattern, and these names, sorted."""
    part, rest = parts[0], list(parts[1:])
    if part == "**":
        rest = rest or ["*"]
        yield from _fitting(folder, rest)
        for name in _names(folder, folders=True):
            yield from _fitting(os.path.join(folder, name), [part, *rest])
    elif rest:
        for name in _names(folder, folders=True):
            if fnmatch.fnmatchcase(name, part):
                yield from _fitting(os.path.join(folder, name), rest)
    else:
        names = _names(folder, folders=False)
        yield folder, names if part == "*" else [n for n in names if fnmatch.fnmatchcase(n, part)]


def _names(folder: str, *, folders: bool) -> list[str]:
    """Return the names of the images in a folder, or of its sub-folders, sorted."""
    try:
        with os.scandir(folder) as entries:
            if folders:
                return sorted(
                    entry.name
                    for entry in entries
                    if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
                )
            return sorted(
                entry.name for entry in entries if is_image_file(entry.name) and entry.is_file()
            )
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror or error}") from error
