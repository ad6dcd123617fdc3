"""YOLOX's additional L1 loss from an iteration on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from mmattn.errors import ConfigError
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner


@HOOKS.register_module()
class L1LossFromIterHook(Hook):
    """Switch the L1 loss of mmdet's ``YOLOXHead`` on, also in a run that is resumed later.

    It is that part of mmdet's ``YOLOXModeSwitchHook``, for a training that counts iterations.

    Args:
        begin: First iteration with the loss.

    Raises:
        ConfigError: The model has no ``bbox_head.use_l1``.
    """

    def __init__(self, begin: int) -> None:
        self.begin = begin

    def before_train(self, runner: Runner) -> None:
        if not hasattr(_head(runner), "use_l1"):
            raise ConfigError(
                f"L1LossFromIterHook: {type(runner.model).__name__} has no bbox_head.use_l1; the "
                "hook is for YOLOX."
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        _head(runner).use_l1 = runner.iter >= self.begin


def _head(runner: Runner) -> Any:
    model: Any = runner.model
    model = model.module if is_model_wrapper(model) else model
    return getattr(getattr(model, "detector", model), "bbox_head", None)
