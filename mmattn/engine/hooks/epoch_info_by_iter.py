"""The epoch that a model is told, in a training that counts iterations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from mmattn.errors import ConfigError
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner


@HOOKS.register_module()
class EpochInfoByIterHook(Hook):
    """Call ``model.set_epoch`` as mmdet's ``SetEpochInfoHook`` does, after so many iterations each.

    Args:
        iterations_per_epoch: Iterations that count as an epoch; not necessarily a whole number.

    Raises:
        ConfigError: ``iterations_per_epoch`` is not positive.
    """

    def __init__(self, iterations_per_epoch: float) -> None:
        if iterations_per_epoch <= 0:
            raise ConfigError(f"EpochInfoByIterHook: {iterations_per_epoch=} must be above 0.")
        self.iterations_per_epoch = iterations_per_epoch

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        model: Any = runner.model
        model = model.module if is_model_wrapper(model) else model
        model.set_epoch(int(runner.iter // self.iterations_per_epoch))
