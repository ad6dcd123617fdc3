"""Let go of what only the checks and the building of the datasets needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.hooks import Hook

if TYPE_CHECKING:
    from mmengine.runner import Runner


class ForgetAnnotationsHook(Hook):
    """Free the records of folders of boxes before the first step and the processes that load.

    ``train`` adds it to every run.
    """

    priority = "VERY_LOW"  # after the first screen, which counts them

    def before_train(self, runner: Runner) -> None:
        """Forget what was read."""
        from mmattn.preflight.run import forget_annotations

        forget_annotations()
