"""A tiny training with hooks, as mmengine runs it: our services of each run are left out."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmattn.config import load_config
from mmattn.config.registry_scope import enter_scope
from mmattn.data import write_shapes_dataset

_numbers = itertools.count()


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 training and 3 validation images."""
    root = tmp_path_factory.mktemp("shapes")
    write_shapes_dataset(root, num_train=8, num_val=3, size=(64, 96), seed=0)
    return root


@pytest.fixture(scope="session")
def tiny_config(repo: Path, shapes: Path) -> Config:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHAPES_ROOT", str(shapes))
        return load_config(repo / "tests/support/configs/tiny_fcn.py")


@pytest.fixture
def runner(tiny_config: Config, tmp_path: Path, monkeypatch) -> Callable[..., Runner]:
    """``runner(hooks, **options)``: a runner of tests/support/configs/tiny_fcn.py, 4 steps."""
    # mmengine keeps the logger of an earlier run, whose captured output is closed by now.
    monkeypatch.setattr(logging, "raiseExceptions", False)
    # Half of a run this short would be spent on six formattings of its config.
    plain = property(lambda cfg: repr(cfg.to_dict()))
    monkeypatch.setattr(Config, "pretty_text", plain)

    def build(
        hooks: list[dict],
        work_dir: Path = tmp_path / "run",
        save_best: str | None = None,
        **options,
    ) -> Runner:
        steps = {"train_cfg.max_iters": 4, "train_cfg.val_interval": 2}
        cfg = deepcopy(tiny_config)
        cfg.merge_from_dict({**steps, **options})
        cfg.work_dir = str(work_dir)
        cfg.custom_hooks = hooks
        cfg.default_hooks.checkpoint = {
            "type": "mmattn.CheckpointHook",
            "by_epoch": False,
            "interval": 2,
            "save_best": save_best,
        }
        cfg.visualizer.pop("name", None)
        # Two runs within a second would share their logs.
        cfg.experiment_name = f"{tmp_path.name}-{next(_numbers)}"
        enter_scope(cfg)
        return Runner.from_cfg(cfg)

    return build
