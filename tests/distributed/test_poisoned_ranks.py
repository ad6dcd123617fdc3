"""Promise: a nan in one rank is the same bad step in all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.two_ranks import run_ranks

SLOW = pytest.mark.slow
CASES = [
    pytest.param("loss", "stop", 1, marks=SLOW),
    pytest.param("input", "skip", 2, marks=SLOW),
    pytest.param("loss", "skip", 1, marks=SLOW),
    pytest.param("gradient", "stop", 1, marks=SLOW),
    pytest.param("loss", "stop", 2, marks=SLOW),
]


@pytest.mark.parametrize(("site", "policy", "counts"), CASES)
def test_all_ranks_decide_alike(site, policy, counts, repo: Path, tmp_path: Path) -> None:
    """``loss`` is a loss of nan whose gradients are finite: rank 0 hears of it by them alone."""
    words = [str(tmp_path), site, policy, str(counts)]
    _, texts = run_ranks(repo, *2 * [["tests.support.poisoned_ranks", *words]])
    files = [tmp_path / f"rank{rank}.json" for rank in (0, 1)]
    assert all(file.exists() for file in files), texts
    found: list[dict[str, Any]] = [json.loads(file.read_text()) for file in files]
    assert found[0]["weights"] == found[1]["weights"]
    for rank in found:
        if policy == "stop":
            assert "in rank 1, " in rank["raised"], rank["raised"]
            assert "in rank 0, " not in rank["raised"]
            assert rank["unchanged_since_window"] == []
        else:
            assert rank["raised"] == ""
            start = 4 - 4 % counts
            assert rank["changed"][-1]
            if counts == 1:
                assert [i for i, changed in enumerate(rank["changed"]) if not changed] == [start]
    saved = [file.name for file in (tmp_path / "bad_steps").iterdir()]
    assert saved == [f"iter_{5 if counts == 1 else 6}_rank1.pth"]
