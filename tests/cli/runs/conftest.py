"""Generated images and tiny configs that the real runs of these tests use."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _environment(shapes_environment: None) -> None:
    """Every run here is of a tiny config."""


@pytest.fixture
def run(repo: Path) -> Callable[..., None]:
    """Run a tool in this process: ``run("test", config, checkpoint)``."""
    torch.set_num_threads(1)

    def call(name: str, *words: str | Path) -> None:
        spec = importlib.util.spec_from_file_location("tool", repo / "tools" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.main(list(map(str, words))) == 0

    return call
