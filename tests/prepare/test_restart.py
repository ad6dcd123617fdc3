"""Promise: a preparation that is killed at any point goes on, and ends as one that was not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mmattn.prepare import Wishes, check_prepared, prepare
from mmattn.prepare.subset import Subset

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def files_of(root: Path) -> dict[str, bytes]:
    found = {p.relative_to(root).as_posix(): p for p in root.rglob("*") if p.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != "dataset.json"}


def killed_after(count: int, call: Callable[[], object]) -> bool:
    """Run ``call`` in a process that dies at its renaming number ``count``; whether it died."""
    child = os.fork()
    if child == 0:
        status, replace, left = 1, os.replace, [count]

        def dying(*places: object) -> None:
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)
            replace(*places)  # type: ignore[arg-type]

        try:
            os.replace = dying  # type: ignore[assignment]
            call()
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


@pytest.mark.parametrize(
    "name, part",
    [
        ("coco2017", None),
        pytest.param("coco2017", "3", marks=pytest.mark.slow),
        pytest.param("voc2012", None, marks=pytest.mark.slow),
    ],
)
def test_killed_again_and_again(
    name: str, part: str | None, archives: Callable, tmp_path: Path
) -> None:
    subset = Subset(part, count=int(part)) if part else None
    wishes = Wishes((archives(name),), subset, accept_terms=True)

    def make(root: Path) -> None:
        prepare(name, root, wishes, say=lambda line: None)

    make(tmp_path / "whole")
    root, count = tmp_path / "killed", 0
    while killed_after(count % 7, lambda: make(root)):  # each goes on where the one before died
        count += 1
        assert not (root / "dataset.json").exists()
        assert count < 100
    assert count > 5
    assert files_of(root) == files_of(tmp_path / "whole")
    check_prepared(root, full=True, say=lambda line: None)
    assert not (root / ".prepare").exists()


def test_another_part_starts_anew(archives: Callable, tmp_path: Path) -> None:
    folder, root = archives("camvid"), tmp_path / "d"
    first = Wishes((folder,), Subset("1", count=1), accept_terms=True)
    assert killed_after(4, lambda: prepare("camvid", root, first, say=lambda line: None))
    record = prepare("camvid", root, Wishes((folder,), accept_terms=True), say=lambda line: None)
    assert record.splits["train"]["images"] == 4 and record.subset is None
