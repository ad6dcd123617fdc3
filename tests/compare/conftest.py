"""Generated images, and two configs that train on them in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.comparison_configs import FCN, RANDOM


@pytest.fixture(autouse=True)
def _environment(shapes_environment: None) -> None:
    """Every run here is of a tiny config."""


@pytest.fixture
def fcn(tmp_path: Path) -> Callable[..., dict]:
    """Arguments of ``compare`` for a segmentor of a few thousand weights."""

    def arguments(**changes) -> dict:
        usual = {"config": FCN, "insert": "none,SE", "at": ["backbone.layer3"], "budget": "5it"}
        usual |= {"controls": False, "match_time": False}  # they train more, and have own tests
        usual |= {"seeds": 2, "work_dir": str(tmp_path / "work"), "cfg_options": dict(RANDOM)}
        return usual | {"log": lambda text: None} | changes

    return arguments
