"""Folders and files that a dataset names but that do not exist."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mmattn.errors import DataError, did_you_mean
from mmattn.given_words import data_root_word, setting, word_above, word_of

from .archives import refuse_archive

_SHOWN = 20


def is_remote(path: str) -> bool:
    """Return whether a path names another machine, which is not looked at here."""
    return "://" in path or path.startswith(("s3:", "petrel:"))


def check_place(path: str, where: str, *, folder: bool) -> None:
    """Raise unless the folder (or file) ``path`` exists.

    Args:
        path: Path as the dataset will open it.
        where: Config key that gives the path, for messages about one that was not given otherwise.
        folder: Expect a folder; a file otherwise.

    Raises:
        DataError: It does not; the message says so in the words of the command line.
    """
    if not path or is_remote(path) or (os.path.isdir(path) if folder else os.path.isfile(path)):
        return
    kind = "folder" if folder else "file"
    if folder:
        refuse_archive(path, where)
    word = word_of(where, path)
    shown = setting(word, repr(path))
    if os.path.exists(path):
        raise DataError(f"{shown} is not a {kind}")
    place = Path(os.path.abspath(path))
    parent = next(p for p in place.parents if p.is_dir())
    missing = place.relative_to(parent).parts[0]
    hint = did_you_mean(missing, (p.name for p in parent.iterdir()))
    raise DataError(
        f"{shown}: no such {kind}; {parent} exists, {missing!r} in it does not.{hint} "
        f"{_where_else(word, kind)}, or put the data there"
    )


def _where_else(word: str, kind: str) -> str:
    """Return how to say where the data is."""
    if word.endswith(".data_root"):  # nobody has given it: one word moves all datasets at once
        return f"Say where it is, {setting(data_root_word(), kind.upper())}"
    return f"Give another one, {setting(word, kind.upper())}"


def missing_files(paths: Iterable[str]) -> list[str]:
    """Return those of ``paths`` that do not exist, in order; each folder is listed once."""
    folders: dict[str, set[str]] = {}
    missing = []
    for path in dict.fromkeys(paths):
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = (
                set(os.listdir(folder or ".")) if os.path.isdir(folder or ".") else set()
            )
        if name not in folders[folder]:
            missing.append(path)
    return missing


def refuse_missing(paths: Iterable[str], what: str, where: str) -> None:
    """Raise with the number of missing files and the first twenty of them.

    Args:
        paths: Paths of all files of one sort.
        what: What the files are, used in messages: "images" or "masks".
        where: Config key of the dataset, used in messages.
    """
    paths = [p for p in paths if not is_remote(p)]
    missing = missing_files(paths)
    if not missing:
        return
    listed = "\n  ".join(missing[:_SHOWN])
    more = f"\n  ... and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    raise DataError(
        f"{where}: {len(missing)} of {len(paths)} {what} do not exist:\n  {listed}{more}\n"
        f"{why_missing(missing[0])}"
    )


def why_missing(path: str) -> str:
    """Return why a file is probably missing and what to do, from what lies beside it."""
    folder, name = os.path.split(path)
    if name.startswith(".") and name.count(".") == 1:
        return "It is an ending without a name: delete the empty line of the list"
    if not os.path.isdir(folder or "."):
        keys = word_above(folder) or "data_root and data_prefix"
        return f"The folder {folder} does not exist: check {keys}"
    beside = os.listdir(folder or ".")
    same_case = [other for other in beside if other.lower() == name.lower()]
    if same_case:
        return (
            f"{same_case[0]!r} exists: upper and lower case differ. Rename the files, or write "
            "their names as they are into the list or annotation file; a dataset that has "
            "img_suffix takes the ending from there"
        )
    stem, suffix = os.path.splitext(name)
    others = [other for other in beside if os.path.splitext(other)[0] == stem]
    if others:
        return (
            f"{others[0]!r} exists: the ending differs from {suffix!r}, set img_suffix or "
            "seg_map_suffix (or file_name in the annotation file)"
        )
    longer = [other for other in beside if other.startswith(stem)]
    if longer:
        return f"{longer[0]!r} exists: set img_suffix or seg_map_suffix to what follows the stem"
    return "Restore these files, or take their entries out of the list or annotation file"


def endings(folder: str) -> str:
    """Return the file endings in a folder with their counts, such as ``.png x 367``."""
    counts = Counter(os.path.splitext(name)[1] or "none" for name in os.listdir(folder))
    return ", ".join(f"{ending} x {count}" for ending, count in counts.most_common(4)) or "nothing"
