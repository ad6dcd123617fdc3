"""A test of weights that fill a part of the network alone measures nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mmengine.hooks import Hook

from mmattn.bridge.checkpoints import unwrapped
from mmattn.io.load import fill, refuse_partial

if TYPE_CHECKING:
    from mmengine.runner import Runner


class RequireCompleteCheckpointHook(Hook):
    """Raises ``CheckpointError`` where a loaded checkpoint leaves random what predicts.

    Training may start from such weights, so only tests have this hook.
    """

    # After hooks that rearrange the checkpoint, such as EMAHook.
    priority = "LOWEST"

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        weights = checkpoint.get("state_dict", checkpoint)
        # As mmengine does, right after this.
        weights = {re.sub(r"^module\.", "", key): value for key, value in weights.items()}
        report = fill(runner.model, weights, unwrap=unwrapped)
        refuse_partial(report, str(runner._load_from))
