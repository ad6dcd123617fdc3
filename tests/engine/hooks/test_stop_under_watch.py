"""Promise: a checkpoint that a signal asks for may take as long as it needs, while ranks wait."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.hooks import Hook

from mmattn.engine.hooks.stop_on_signal import StopOnSignalHook
from mmattn.engine.ranks.progress import AfterHooks, BeforeHooks
from mmattn.engine.stop_signals import StopSignals
from mmattn.errors import Preempted
from tests.support.resume_cases import StopAt
from tests.support.toy_training import toy_runner, with_validation


class Told:
    """Keeps what a watch was told last."""

    def __init__(self) -> None:
        self.what, self.limited = "", False

    def progress(self, what: str, *, limited: bool, timed: bool = True) -> None:
        """Keep it."""
        self.what, self.limited = what, limited


class Saves(Hook):
    """Notes what the watch believes whenever a checkpoint is written."""

    def __init__(self, told: Told) -> None:
        self.told, self.states = told, []

    def before_save_checkpoint(self, runner, checkpoint) -> None:
        self.states.append((self.told.what, self.told.limited))


@pytest.mark.parametrize("in_validation", [False, True])
def test_saving_after_a_signal_has_no_limit(in_validation: bool, tmp_path: Path) -> None:
    told, signals = Told(), StopSignals()
    saves = Saves(told)
    hooks = [
        BeforeHooks(told), AfterHooks(told), StopOnSignalHook(signals, told),
        StopAt(signals, 2, in_validation), saves,
    ]  # fmt: skip
    runner = toy_runner(tmp_path, custom_hooks=hooks, **with_validation())
    with pytest.raises(Preempted):
        runner.train()
    assert saves.states[-1] == ("saving a checkpoint after a signal", False)
    assert not any(limited for _, limited in saves.states)
