"""Promise: a block in the identity form needs no search for unused parameters in two processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.identity_ranks import STEPS
from tests.support.two_ranks import run_ranks


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_identity_block_learns_in_two_processes(dtype: str, repo: Path, tmp_path: Path) -> None:
    """In the first step gradients of all its weights but the scale are zero, but not missing."""
    command = ["tests.support.identity_ranks", str(tmp_path), dtype]
    codes, texts = run_ranks(repo, command, command)
    assert codes == [0, 0], texts
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first == second, "the same gradients, weights and averages"
    assert [step["without"] for step in first["steps"]] == [[]] * STEPS
    assert [step["scales"] for step in first["steps"]] == [[True]] * STEPS
    assert [step["block"] for step in first["steps"]] == [False, True, True]
