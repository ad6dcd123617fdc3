"""A dataset reads only below its own folder, and only files.

What an annotation file, a list or a ``data.yaml`` names comes from whoever made the dataset. So a
text that leads out of the folder (an absolute path, ``..``, a URL) is refused, and so is a file
that is a link to one outside, or that is no file at all but a pipe or a device, which would hang or
never end. A *folder* that is a link is followed, wherever it leads: that is how users put images
from another disk into a dataset; the check says so.

``data.allow_outside=True`` lifts this for one dataset of mmattn's own, the environment variable
``MMATTN_ALLOW_OUTSIDE=1`` for all.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence

from mmattn.errors import DataError

from .files import is_remote

#: Environment variable that lets every dataset read outside of its folder.
VARIABLE = "MMATTN_ALLOW_OUTSIDE"
_SHOWN = 5
_FIX = (
    "A dataset reads only below its own folder: put the files there, or say that you want these "
    f"with data.allow_outside=True (any other dataset: the environment variable {VARIABLE}=1)"
)


def outside_allowed() -> bool:
    """Return whether the environment lets datasets read outside of their folders."""
    return os.environ.get(VARIABLE, "").strip().lower() in ("1", "true", "yes")


def is_inside(path: str, tops: Iterable[str]) -> bool:
    """Return whether a path lies below one of ``tops`` by its text, ``..`` resolved.

    >>> is_inside("d/images/../a.png", ["d"]), is_inside("d/../a.png", ["d"])
    (True, False)
    """
    full = os.path.abspath(path)
    return any(
        full == top or full.startswith(top.rstrip(os.sep) + os.sep)
        for top in map(os.path.abspath, tops)
    )


def refuse_outside(
    paths: Iterable[str], tops: Sequence[str], source: str, what: str = "files"
) -> None:
    """Refuse paths that lead out of a dataset, and what is no file; missing files pass.

    Args:
        paths: Paths as they would be opened.
        tops: Folders of the dataset.
        source: What names the paths, used in messages.
        what: What the paths are, used in messages.

    Raises:
        DataError: There are such paths; the message has their number, the first of them, and the
            setting that allows them.
    """
    if outside_allowed():
        return
    tops = [os.path.abspath(top) for top in tops if top]
    if not tops:
        return
    faults: list[str] = []
    chains: dict[str, tuple[bool, list[str]]] = {}
    for path in dict.fromkeys(paths):
        if is_remote(path):
            faults.append(f"{path} (a URL)")
            continue
        folder = os.path.dirname(os.path.abspath(path))
        if folder not in chains:
            chains[folder] = (is_inside(folder, tops), _real_chain(folder, tops))
        inside, chain = chains[folder]
        if not inside:
            faults.append(path)
            continue
        try:
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                target = os.path.realpath(path)
                mode = os.stat(path).st_mode
                if not is_inside(target, chain):
                    faults.append(f"{path} (a link to {target})")
                    continue
        except (OSError, ValueError):  # ValueError of a zero byte
            continue  # missing files have a message of their own
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            faults.append(f"{path} (a pipe, socket or device)")
    if faults:
        shown = ", ".join(faults[:_SHOWN]) + (", ..." if len(faults) > _SHOWN else "")
        raise DataError(f"{source}: {len(faults)} {what} lie outside of {tops[0]}: {shown}. {_FIX}")


def linked_folders(folders: Iterable[str], root: str) -> list[str]:
    """Return the links to folders outside of ``root`` that lead to ``folders``, in words."""
    top, real = os.path.abspath(root), os.path.realpath(root)
    found: dict[str, str] = {}
    for folder in dict.fromkeys(map(os.path.abspath, folders)):
        while is_inside(folder, [top]) and folder != top:
            if os.path.islink(folder):
                target = os.path.realpath(folder)
                if not is_inside(target, [real]):
                    found[os.path.relpath(folder, top)] = target
            folder = os.path.dirname(folder)
    return [f"{name} is a link to {target}" for name, target in sorted(found.items())]


def _real_chain(folder: str, tops: Sequence[str]) -> list[str]:
    """Return the real paths of a folder and of those above it, up to the top of the dataset."""
    chain = []
    while is_inside(folder, tops):
        chain.append(os.path.realpath(folder))
        if folder in tops or os.path.dirname(folder) == folder:
            break
        folder = os.path.dirname(folder)
    return chain + [os.path.realpath(top) for top in tops]
