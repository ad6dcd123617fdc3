"""Plots of losses, learning rate and metrics, kept up to date during a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.dist import master_only
from mmengine.hooks import Hook, LoggerHook

from mmattn.registry import HOOKS
from mmattn.reports.curves import plot_curves

if TYPE_CHECKING:
    from mmengine.runner import Runner


@HOOKS.register_module()
class TrainingCurvesHook(Hook):
    """Plot ``vis_data/curves_*.png`` after every validation and at the end.

    The curves show what mmengine's local backend wrote into ``scalars.json``; those of a resumed
    run include the part before.
    """

    priority = "VERY_LOW"  # after LoggerHook has written its scalars

    @master_only
    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._draw(runner)

    @master_only
    def after_train(self, runner: Runner) -> None:
        self._draw(runner)

    def _draw(self, runner: Runner) -> None:
        folder = Path(runner.log_dir) / "vis_data"
        files = [folder / "scalars.json"]
        if runner._resume:
            # Folders are named by the time of their start.
            earlier = Path(runner.work_dir).glob("*/vis_data/scalars.json")
            files = sorted(file for file in earlier if file.parent.parent.name <= runner.timestamp)
        files = [file for file in files if file.is_file()]
        by_epoch = any(
            hook.log_metric_by_epoch for hook in runner.hooks if isinstance(hook, LoggerHook)
        )
        try:
            plot_curves(files, folder, validation_axis="epoch" if by_epoch else "iteration")
        except (ValueError, OSError) as error:
            # A damaged log or a full disk must not end a training over a plot.
            runner.logger.warning(f"The training curves could not be saved: {error}")
