"""Generated images and tiny configs that the real runs of these tests use."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmattn.data import write_shapes_dataset


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
def run(repo: Path) -> Callable[..., None]:
    """Run a tool in this process: ``run("test", config, checkpoint)``."""
    torch.set_num_threads(1)

    def call(name: str, *words: str | Path) -> None:
        spec = importlib.util.spec_from_file_location("tool", repo / "tools" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.main(list(map(str, words))) == 0

    return call
