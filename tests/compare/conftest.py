"""Generated images, and two configs that train on them in seconds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from mmattn.data import write_shapes_dataset
from tests.support.comparison_configs import FCN, RANDOM


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 training and 4 validation images with every kind of annotation."""
    root = tmp_path_factory.mktemp("shapes")
    write_shapes_dataset(root, num_train=8, num_val=4, size=(64, 96), seed=0)
    return root


@pytest.fixture(autouse=True)
def _environment(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHAPES_ROOT", str(shapes))
    # mmengine keeps the logger of an earlier run, whose captured output is closed by now.
    monkeypatch.setattr(logging, "raiseExceptions", False)


@pytest.fixture
def fcn(tmp_path: Path) -> Callable[..., dict]:
    """Arguments of ``compare`` for a segmentor of a few thousand weights."""

    def arguments(**changes) -> dict:
        usual = {"config": FCN, "insert": "none,SE", "at": ["backbone.layer3"], "budget": "5it"}
        usual |= {"controls": False, "match_time": False}  # they train more, and have own tests
        usual |= {"seeds": 2, "work_dir": str(tmp_path / "work"), "cfg_options": dict(RANDOM)}
        return usual | {"log": lambda text: None} | changes

    return arguments
