"""Tests run on a network's inference form, where it has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.hooks import Hook

from mmattn.inference.model import unwrap_model
from mmattn.layers.fuse import fuse

if TYPE_CHECKING:
    from mmengine.runner import Runner


class FuseHook(Hook):
    """Puts ``mmattn.layers.fuse.fuse(model)`` in the model's place for the time of a test.

    A model without an inference form is left alone. Validation during training is, too: its
    weights change again right after it.
    """

    # After hooks that change the weights for the test, such as EMAHook.
    priority = "VERY_LOW"

    def __init__(self) -> None:
        self._trained = None

    def before_test_epoch(self, runner: Runner) -> None:
        model = unwrap_model(runner)
        form = fuse(model)
        if form is not model:
            self._trained, runner.model = runner.model, form
            runner.logger.info("testing the inference form of the model (--no-fuse: the model)")

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self._trained is not None:
            self._trained, runner.model = None, self._trained
