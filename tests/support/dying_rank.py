"""A hook by which one process of a training is killed once, as a test of restarts wants it."""

from __future__ import annotations

import os
import signal

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class DieOnceHook(Hook):
    """Kills a rank before a step, unless its training was started again.

    Args:
        rank: The process.
        step: The step, from 0 on.
    """

    def __init__(self, rank: int, step: int) -> None:
        self.rank, self.step = rank, step

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Die, if it is time."""
        first = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
        if first and runner.rank == self.rank and runner.iter == self.step:
            os.kill(os.getpid(), signal.SIGKILL)
