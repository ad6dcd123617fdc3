"""What mmdet's hooks do at an epoch, done at an iteration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mmattn.engine.hooks import EpochInfoByIterHook, L1LossFromIterHook
from mmattn.errors import ConfigError


def test_the_l1_loss_is_on_from_its_iteration_and_in_a_run_resumed_later() -> None:
    head = SimpleNamespace(use_l1=False)
    seen = []
    for steps in (range(5), range(4, 6)):
        head.use_l1 = False
        hook = L1LossFromIterHook(begin=3)
        for step in steps:
            runner: Any = SimpleNamespace(model=SimpleNamespace(bbox_head=head), iter=step)
            hook.before_train(runner)
            hook.before_train_iter(runner, step)
            seen.append(head.use_l1)
    assert seen == [False, False, False, True, True, True, True]


def test_the_l1_loss_is_yoloxs() -> None:
    runner: Any = SimpleNamespace(model=SimpleNamespace(bbox_head=object()), iter=0)
    with pytest.raises(ConfigError, match=r"SimpleNamespace has no bbox_head\.use_l1"):
        L1LossFromIterHook(begin=0).before_train(runner)


def test_a_model_is_told_its_epoch() -> None:
    told: list[int] = []
    hook = EpochInfoByIterHook(iterations_per_epoch=2.5)
    for step in range(8):
        runner: Any = SimpleNamespace(model=SimpleNamespace(set_epoch=told.append), iter=step)
        hook.before_train_iter(runner, step)
    assert told == [0, 0, 0, 1, 1, 2, 2, 2]
    with pytest.raises(ConfigError, match="must be above 0"):
        EpochInfoByIterHook(0)
