"""The folder of a training as it is left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.left_behind import FACTS, leave_behind


@pytest.fixture
def left_behind(tmp_path: Path) -> Callable[..., Path]:
    """``left_behind(facts)``: writes the folder of a run of one start, and returns it."""
    return lambda facts=FACTS: leave_behind(tmp_path / "run", facts)
