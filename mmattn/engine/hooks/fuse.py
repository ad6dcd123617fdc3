"""Test the fused model, where the network can be fused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.hooks import Hook

from mmattn.inference.model import unwrap_model
from mmattn.layers.fuse import fuse
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner


@HOOKS.register_module()
class FuseHook(Hook):
    """Replace the model by ``mmattn.layers.fuse.fuse(model)`` for the time of a test.

    A model that cannot be fused is left alone, and so is validation during training: the weights
    change again right after it.
    """

    # After hooks that change the weights for the test, such as EMAHook.
    priority = "VERY_LOW"

    def __init__(self) -> None:
        self._trained = None

    def before_test_epoch(self, runner: Runner) -> None:
        model = unwrap_model(runner)
        fused = fuse(model)
        if fused is not model:
            self._trained, runner.model = runner.model, fused
            runner.logger.info("Testing the fused model (--no-fuse tests the model as trained).")

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self._trained is not None:
            self._trained, runner.model = None, self._trained
