"""Folders beside those of images and masks: which of them could hold the masks as well."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

#: Folders beside VOC's classes that have the same names and hold something else.
_NOT_CLASSES = ("segmentationobject",)
#: Share of the images that must find a partner for a folder to pair up with them.
_ENOUGH = 0.5


def pairs_up(images: Sequence[str], files: Sequence[str]) -> bool:
    """Return whether files of a folder belong to images one by one, as far as their names tell.

    Args:
        images: Paths of images in their folder.
        files: Paths of the other files in theirs.

    >>> pairs_up(["21_training.tif", "22_training.tif"], ["21_manual1.gif", "22_manual1.gif"])
    True
    >>> pairs_up(["a.jpg", "b.jpg"], ["logo.png"])
    False
    """
    return any(
        _overlap(_unique(images, key), _unique(files, key)) >= _ENOUGH * len(images) > 0
        for key in (_stem, _start, _number)
    )


def rivals(images: Sequence[str], folders: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """Return those of ``folders`` (names with their files) that pair up with the images."""
    return [
        name
        for name, files in folders
        if os.path.basename(name).lower() not in _NOT_CLASSES and pairs_up(images, files)
    ]


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _start(path: str) -> str:
    """Return the first word of a name: ``21`` of ``21_training.tif``."""
    return re.split(r"[_\-. ]", _stem(path))[0]


def _number(path: str) -> str:
    found = re.search(r"\d+", _stem(path))
    return found[0] if found else ""


def _unique(paths: Iterable[str], key: Callable[[str], str]) -> set[str]:
    """Return the keys that belong to one file only; shared ones tell nothing."""
    counts = Counter(map(key, paths))
    return {name for name, count in counts.items() if count == 1 and name}


def _overlap(one: set[str], other: set[str]) -> int:
    return len(one & other)
