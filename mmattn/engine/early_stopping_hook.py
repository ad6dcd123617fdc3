"""Stop a training that no longer improves, also one that was resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.hooks import EarlyStoppingHook as _EarlyStoppingHook

from mmattn.errors import ConfigError, did_you_mean
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner

_KEY = "early_stopping/{}"


@HOOKS.register_module()
class EarlyStoppingHook(_EarlyStoppingHook):
    """mmengine's ``EarlyStoppingHook`` whose best score and patience survive a resume.

    Upstream's starts to count anew then, and has forgotten the best score. Here both are written
    into every checkpoint.

    Args:
        monitor: Name of a metric, such as ``mIoU`` or ``val_loss``.
        strict: Refuse a name that no metric has; otherwise the training then never stops early.
        kwargs: Those of mmengine's hook: ``patience`` (in validations), ``min_delta``, ``rule``,
            ``stopping_threshold``, ``check_finite``.

    Raises:
        ConfigError: At the first validation: there is no metric of the name ``monitor``.
    """

    def __init__(self, monitor: str, *, strict: bool = True, **kwargs: Any) -> None:
        super().__init__(monitor, strict=strict, **kwargs)

    def before_train(self, runner: Runner) -> None:
        """Go on where the resumed run was."""
        state = runner.message_hub.runtime_info.get(_KEY.format(self.monitor))
        if state:
            self.best_score, self.wait_count = state["best_score"], state["wait_count"]

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Compare with the best, and remember for a resume."""
        if self.strict and self.monitor not in metrics:
            hint = did_you_mean(self.monitor, metrics) or f" There are {', '.join(metrics)}."
            raise ConfigError(
                f"EarlyStoppingHook: monitor={self.monitor!r} is no metric of this run.{hint}"
            )
        super().after_val_epoch(runner, metrics)
        state = {"best_score": float(self.best_score), "wait_count": self.wait_count}
        runner.message_hub.update_info(_KEY.format(self.monitor), state)
