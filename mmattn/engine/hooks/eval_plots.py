"""Plot each validation and test; the metrics themselves draw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.dist import master_only
from mmengine.hooks import Hook

from mmattn.evaluation.protocols import SavesPlots
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.evaluator import Evaluator
    from mmengine.runner import Runner


@HOOKS.register_module()
class EvalPlotsHook(Hook):
    """Let every metric that can (``SavesPlots``) draw into ``vis_data`` of the run's folder.

    ``mmattn.ClasswiseIoUMetric`` draws its confusion matrix and the worst images,
    ``mmattn.ClasswiseCocoMetric`` curves, sizes and types of errors too. Files of an earlier
    evaluation are overwritten; a metric that cannot draw is left alone.
    """

    priority = "LOW"  # after the table of results

    @master_only
    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._draw(runner, "val", runner.val_loop.evaluator)

    @master_only
    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._draw(runner, "test", runner.test_loop.evaluator)

    def _draw(self, runner: Runner, split: str, evaluator: Evaluator) -> None:
        folder = Path(runner.log_dir) / "vis_data"
        for metric in evaluator.metrics:
            if not isinstance(metric, SavesPlots):
                continue
            try:
                files = metric.save_plots(folder, split)
            except (ValueError, OSError) as error:
                # A full disk must not end a training over a plot.
                runner.logger.warning(f"The plots of this evaluation could not be saved: {error}")
                continue
            if files:
                # The last image is the one to look at first; its whole path can be clicked on.
                first = max(files, key=lambda file: (file.suffix == ".png", files.index(file)))
                names = ", ".join(file.name for file in files if file != first)
                runner.logger.info(f"Look at {first}{f'; beside it: {names}' if names else ''}")
