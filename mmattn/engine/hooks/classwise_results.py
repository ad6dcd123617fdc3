"""Report the results of every class: as a table in the log and as rows of a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.dist import master_only
from mmengine.hooks import Hook

from mmattn.evaluation.protocols import HasClassTables
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.evaluator import Evaluator
    from mmengine.runner import Runner

_COLUMNS = ("split", "epoch", "iter", "table", "class", "metric", "value")


@HOOKS.register_module()
class ClasswiseResultsHook(Hook):
    """Log the results of each class of the run's metrics and append them to ``results.csv``.

    A metric without ``class_tables`` (``HasClassTables``) is left to mmengine's own summary line.
    ``results.csv`` lies beside ``vis_data`` in the run's folder, one value per row.
    """

    priority = "NORMAL"  # before LoggerHook, so that its summary line ends the table

    @master_only
    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._report(runner, "val", runner.val_loop.evaluator)

    @master_only
    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._report(runner, "test", runner.test_loop.evaluator)

    def _report(self, runner: Runner, split: str, evaluator: Evaluator) -> None:
        tables = [
            table
            for metric in evaluator.metrics
            if isinstance(metric, HasClassTables)
            for table in metric.class_tables
        ]
        for table in tables:
            runner.logger.info("\n" + table.to_text())
        if tables:
            epoch, iteration = _position(runner)
            path = Path(runner.log_dir) / "results.csv"
            new = not path.exists()
            with path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                if new:
                    writer.writerow(_COLUMNS)
                for table in tables:
                    for name, column, value in table.records():
                        writer.writerow(
                            (split, epoch, iteration, table.title, name, column, repr(value))
                        )


def _position(runner: Runner) -> tuple[int, int]:
    """Return epoch and iteration; outside a training mmengine would build its loop for that."""
    loop = runner._train_loop
    if loop is None or isinstance(loop, dict):
        return 0, 0
    return runner.epoch, runner.iter
