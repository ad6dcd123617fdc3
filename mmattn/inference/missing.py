"""Say which part of a path is not there, with the nearest name beside it."""

from __future__ import annotations

import os
from pathlib import Path

from mmattn.errors import did_you_mean


def missing_part(path: str | os.PathLike[str]) -> str:
    """Return where a path that does not exist ends, such as ``'sge' is not in runs``."""
    place = Path(os.path.abspath(path))
    parent = next(p for p in place.parents if p.is_dir())
    name = place.relative_to(parent).parts[0]
    hint = did_you_mean(name, (p.name for p in parent.iterdir()))
    return f"{name!r} is not in {parent}.{hint}"
