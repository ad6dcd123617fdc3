"""Fine-tuning keeps the rows of a head whose classes have the same names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

from mmattn.engine.class_rows import keep_rows_by_name
from mmattn.inference.model import unwrap_model
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner

    from mmattn.io.class_rows import RowsReport


@HOOKS.register_module()
class ClassRowsHook(Hook):
    """Map the rows of ``load_from``'s classifiers to the classes of the training data, by name.

    Checkpoints of mmengine, and of mmdet 2, know the names of their classes. A checkpoint without
    names is loaded as it is; a resumed training is left alone.

    Attributes:
        report: What was taken over by the last load; None where names did not matter.
    """

    priority = "VERY_HIGH"  # before averaged weights take their copy

    def __init__(self) -> None:
        self.report: RowsReport | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Replace the weights of a checkpoint that a training starts from."""
        loop = runner._train_loop
        if runner._resume or loop is None or isinstance(loop, dict):
            return
        meta = getattr(runner.train_dataloader.dataset, "metainfo", None) or {}
        self.report = keep_rows_by_name(
            checkpoint, unwrap_model(runner), runner.cfg, meta, str(runner._load_from)
        )
        if self.report is not None:
            runner.logger.info("%s: %s", self.report.source, self.report)
