"""Weight decay follows the images of a step; more in tests/engine/optim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict

from mmattn.engine.hooks import ScaleWeightDecayHook
from mmattn.engine.hooks import scale_weight_decay as module
from mmattn.errors import ConfigError
from tests.support.toy_training import toy_runner

SGD = {"optimizer": {"type": "SGD", "lr": 0.01, "weight_decay": 0.5}}


def decay(tmp_path: Path, **options) -> float:
    hook = {"type": "mmattn.ScaleWeightDecayHook", "nominal_batch_size": 16}
    runner: Any = toy_runner(tmp_path, optim_wrapper=SGD, custom_hooks=[hook], **options)
    runner.train()
    (group,) = runner.optim_wrapper.optimizer.param_groups
    return group["weight_decay"] / runner.train_dataloader.batch_size * 16


def test_processes_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert decay(tmp_path / "one") == pytest.approx(0.5)
    monkeypatch.setattr(module, "get_world_size", lambda: 4)
    assert decay(tmp_path / "four") == pytest.approx(2.0)


def test_a_resume_scales_once(tmp_path: Path) -> None:
    assert decay(tmp_path) == pytest.approx(0.5)
    again = decay(tmp_path, resume=True, train_cfg={"by_epoch": True, "max_epochs": 3})
    assert again == pytest.approx(0.5)


def test_several_optimisers_are_refused(tmp_path: Path) -> None:
    runner = toy_runner(tmp_path)
    runner.optim_wrapper = OptimWrapperDict(
        one=OptimWrapper(torch.optim.SGD(runner.model.parameters(), lr=0.1))
    )
    with pytest.raises(ConfigError, match="several optimisers"):
        ScaleWeightDecayHook().before_train(runner)


def test_a_batch_size_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="nominal_batch_size=0 must be at least 1"):
        ScaleWeightDecayHook(0)
