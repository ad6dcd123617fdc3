"""What lies in a folder: files below it, and folders in it."""

from __future__ import annotations

import os

from mmattn.images import is_image_file


def files_below(folder: str, limit: int | None = None, *, all_endings: bool = False) -> list[str]:
    """Return image files (or all) below a folder, relative to it and sorted, without hidden ones.

    Links to folders are followed. Pipes, sockets and devices are no files: opening one would hang.
    """

    def wanted(entry: os.DirEntry[str]) -> bool:
        hidden = entry.name.startswith(".")
        fits = not hidden if all_endings else is_image_file(entry.name)
        return fits and (entry.is_symlink() or entry.is_file())  # a broken link is told as missing

    found: list[str] = []
    seen: set[str] = set()
    waiting = [("", folder)]
    while waiting:
        relative, place = waiting.pop()
        real = os.path.realpath(place)
        if real in seen:  # a link that leads back up
            continue
        seen.add(real)
        try:
            with os.scandir(place) as opened:
                entries = sorted(opened, key=lambda entry: entry.name, reverse=True)
        except OSError:  # not a folder, or one that may not be read
            continue
        folders = [entry for entry in entries if entry.is_dir()]
        waiting += [
            (f"{relative}{entry.name}/", entry.path)
            for entry in folders
            if not entry.name.startswith(".")
        ]
        names = {entry.name for entry in folders}
        found += [
            f"{relative}{entry.name}"
            for entry in entries
            if entry.name not in names and wanted(entry)
        ]
        if limit is not None and len(found) >= limit:
            break
    return sorted(found)


def subfolders(folder: str) -> list[str]:
    """Names of the folders in a folder, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
