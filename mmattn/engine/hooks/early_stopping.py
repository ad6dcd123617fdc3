"""Stop a training that no longer improves, also after it was resumed.

A checkpoint cannot carry the count of validations without improvement: the checkpoint of step N is
written before the validation of step N, which a run resumed from it does not repeat. So the scores
go into a file of their own, from which the count follows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import EarlyStoppingHook as _EarlyStoppingHook

from mmattn.errors import ConfigError, did_you_mean
from mmattn.io import atomic_write
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner

_FILE = "early_stopping.json"


@HOOKS.register_module()
class EarlyStoppingHook(_EarlyStoppingHook):
    """Stop early as mmengine's hook does; best score and patience survive a resume.

    mmengine's hook forgets both then. Here the score of each validation is kept in
    ``early_stopping.json`` of the run's folder, and a resumed run replays those up to its step: it
    stops where a run that was never interrupted does, at once if it has got there. Only a
    validation that was itself interrupted is missing.

    Args:
        monitor: Name of a metric, such as ``mIoU`` or ``val_loss``.
        strict: Refuse a name that no metric has; otherwise the training then never stops early.
        kwargs: Arguments of mmengine's hook: ``patience`` (in validations), ``min_delta``,
            ``rule``, ``stopping_threshold``, ``check_finite``.

    Raises:
        ConfigError: At the first validation: there is no metric of the name ``monitor``.
    """

    def __init__(self, monitor: str, *, strict: bool = True, **kwargs: Any) -> None:
        super().__init__(monitor, strict=strict, **kwargs)
        # Score of each validation of the training, by its step.
        self._scores: dict[int, float] | None = None

    def before_train(self, runner: Runner) -> None:
        """Replay the scores of the resumed run up to its step; later ones are forgotten."""
        stored = [_read(runner).get(self.monitor, {}) if is_main_process() else {}]
        broadcast_object_list(stored)
        scores = {int(step): score for step, score in stored[0].items()}
        self._scores = {step: scores[step] for step in sorted(scores) if step <= runner.iter}
        stop, message = False, ""
        for score in self._scores.values():
            stop, message = self._check_stop_condition(score)
        if stop:
            runner.train_loop.stop_training = True
            runner.logger.info(message)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Compare the score with the best, and store it for a resume."""
        if self.strict and self.monitor not in metrics:
            hint = did_you_mean(self.monitor, metrics) or f" There are {', '.join(metrics)}."
            raise ConfigError(
                f"EarlyStoppingHook: monitor={self.monitor!r} is not a metric of this run.{hint}"
            )
        super().after_val_epoch(runner, metrics)
        if self._scores is not None and self.monitor in metrics:
            self._scores[runner.iter] = float(metrics[self.monitor])
            if is_main_process():
                # Hooks for other metrics keep theirs in the same file.
                content = {**_read(runner), self.monitor: self._scores}
                with atomic_write(Path(runner.work_dir, _FILE), "w") as file:
                    json.dump(content, file, indent=1)


def _read(runner: Runner) -> dict[str, dict[str, float]]:
    """Read the stored scores: metric -> step -> score."""
    path = Path(runner.work_dir, _FILE)
    return json.loads(path.read_text("utf-8")) if path.exists() else {}
