"""Promise: a damaged file is read or refused by name: no crash, no hang, no error of another kind.

The files are read in a process of their own, whose end by a signal is a failure here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.damaged_files import MOST_PIXELS, trial
from tests.support.forked import call_each

pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded"),
    # mmengine leaves its copy of a config open when reading it fails.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
#: Kind of file -> numbers of files in the default run and in the long one.
COUNTS = {"images": (300, 10_000), "masks": (120, 2000), "coco": (120, 5000), "configs": (40, 2000)}


def check(kind: str, numbers: range, folder: Path, figures, monkeypatch) -> None:
    monkeypatch.setenv("MMATTN_MAX_IMAGE_PIXELS", str(MOST_PIXELS))
    found = call_each(trial(kind, folder), numbers, folder)
    assert found["calls"] == len(numbers)
    for word in ("refused", "image" if kind in ("images", "masks") else "read"):
        share = found["outcomes"].get(word, 0) / len(numbers)
        assert share > 0.02, f"the damage is no test: {found['outcomes']}"
    figures(f"damaged {kind}", found["calls"], len(numbers))


@pytest.mark.parametrize("kind", COUNTS)
def test_damaged_files_are_read_or_refused(kind: str, tmp_path, figures, monkeypatch) -> None:
    check(kind, range(COUNTS[kind][0]), tmp_path, figures, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("kind", COUNTS)
def test_thousands_of_damaged_files(kind: str, tmp_path, figures, monkeypatch) -> None:
    few, many = COUNTS[kind]
    check(kind, range(few, few + many), tmp_path, figures, monkeypatch)
