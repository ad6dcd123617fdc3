"""Evaluate the network of the first process, which is the one in the checkpoint, in all processes.

The processes of a training share gradients but not buffers: with a batch norm that is not
``SyncBN`` each process has running statistics of its own images. A checkpoint holds those of the
first process; without this hook a validation would mix the predictions of several networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.dist import broadcast, get_world_size
from mmengine.hooks import Hook

from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner


@HOOKS.register_module()
class BroadcastBuffersHook(Hook):
    """Copy the buffers of the first process to all others before each validation and test.

    mmengine's ``SyncBuffersHook`` takes their mean instead, and only after an epoch, which a
    training by iterations never ends.
    """

    priority = "LOW"  # after EMAHook, which may swap averaged buffers in

    def before_val_epoch(self, runner: Runner) -> None:
        self._broadcast(runner)

    def before_test_epoch(self, runner: Runner) -> None:
        self._broadcast(runner)

    def _broadcast(self, runner: Runner) -> None:
        if get_world_size() > 1:
            for buffer in runner.model.buffers():
                broadcast(buffer)
