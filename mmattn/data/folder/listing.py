"""What lies in a folder: files below it, and folders in it."""

from __future__ import annotations

import os
from pathlib import Path

from mmattn.images import is_image_file


def files_below(folder: str, limit: int | None = None, *, all_endings: bool = False) -> list[str]:
    """Image files (or all) below a folder, relative to it and sorted, without hidden ones."""

    def wanted(name: str) -> bool:
        return not name.startswith(".") if all_endings else is_image_file(name)

    found: list[str] = []
    seen: set[str] = set()
    for place, inside, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link that leads back up
            inside.clear()
            continue
        seen.add(real)
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        relative = Path(place).relative_to(folder)
        found += [(relative / name).as_posix() for name in names if wanted(name)]
        if limit is not None and len(found) >= limit:
            break
    return sorted(found)


def subfolders(folder: str) -> list[str]:
    """Names of the folders in a folder, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
