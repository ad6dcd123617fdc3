"""Refuse to test a model when the checkpoint lacks weights that inference uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.hooks import Hook

from mmattn.bridge.checkpoints import load_report
from mmattn.errors import CheckpointError
from mmattn.io.load_into_model import require_complete
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner


@HOOKS.register_module()
class RequireCompleteCheckpointHook(Hook):
    """Raise ``CheckpointError`` before a test whose checkpoint lacked weights of the model.

    It reads the report of the one load that the runner made, after all hooks that rearrange a
    checkpoint. Training may start from partial weights, so only tests have this hook.
    """

    priority = "VERY_HIGH"  # before other hooks prepare a test that will not be run

    def before_test(self, runner: Runner) -> None:
        """Check what was loaded."""
        source, report = str(runner._load_from), load_report(runner.model)
        if report is None:
            raise CheckpointError(
                f"{source}: cannot tell which weights of the model were loaded from it, because "
                "mmengine's loader was not used. --allow-partial tests the model all the same."
            )
        require_complete(report, source)
