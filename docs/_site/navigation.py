"""The pages of the site and where they lie in the repository, and the navigation written out.

Nothing of mkdocs is imported, so that the tests need none.
"""

from __future__ import annotations

import subprocess
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@cache
def tracked() -> frozenset[str]:
    """Return the files of the repository; in an archive without git, all files."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.splitlines()  # fmt: skip
    found = listed or [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.*")]
    return frozenset(path for path in found if (ROOT / path).is_file())


@cache
def pages() -> dict[str, str]:
    """Return the pages of the site, each with its file in the repository."""
    files = (path for path in tracked() if path.endswith(".md") and not path.startswith("tests/"))
    return {path.removeprefix("docs/"): path for path in sorted(files)}


def expand(nav: list[Any], extra: tuple[str, ...] = ()) -> list[Any]:
    """Return a navigation whose patterns are replaced by the pages that they match.

    Args:
        nav: As in ``mkdocs.yml``; it is not changed.
        extra: Pages that are written while the site is built.

    Returns:
        The navigation; a page that it names elsewhere is not matched by a pattern.
    """
    return _expand(nav, set(named(nav)), (*pages(), *extra))


def named(nav: list[Any]) -> list[str]:
    """Return the pages and patterns of a navigation in their order."""
    found: list[str] = []
    for entry in nav:
        target = next(iter(entry.values())) if isinstance(entry, dict) else entry
        found += named(target) if isinstance(target, list) else [target]
    return found


def _expand(nav: list[Any], known: set[str], every: tuple[str, ...]) -> list[Any]:
    found: list[Any] = []
    for entry in nav:
        if isinstance(entry, str) and "*" in entry:
            found += [page for page in every if page not in known and fnmatch(page, entry)]
        elif isinstance(entry, dict):
            ((title, inner),) = entry.items()
            found.append(
                {title: _expand(inner, known, every) if isinstance(inner, list) else inner}
            )
        else:
            found.append(entry)
    return found
