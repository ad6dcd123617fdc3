"""Weight decay that is proportional to the number of images of an optimiser's step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.dist import get_world_size
from mmengine.hooks import Hook

from mmattn.errors import ConfigError
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner


@HOOKS.register_module()
class ScaleWeightDecayHook(Hook):
    """Multiply the weight decay of all groups by (images per step) / ``nominal_batch_size``.

    The images of a step are those of all processes and of all accumulated batches. A loss that is a
    sum over the images (:class:`mmattn.layers.detection.TaskAlignedLoss`) grows with them, and the
    decay beside it has to grow too.

    Args:
        nominal_batch_size: Batch size that the config's ``weight_decay`` is meant for.

    Raises:
        ConfigError: It is below 1, the training has several optimisers, or its
            dataloader doesn't say how many images a batch has.
    """

    priority = "VERY_HIGH"  # before hooks that report settings

    def __init__(self, nominal_batch_size: int = 64) -> None:
        if nominal_batch_size < 1:
            raise ConfigError(
                f"ScaleWeightDecayHook: {nominal_batch_size=} must be at least 1, in images"
            )
        self.nominal_batch_size = nominal_batch_size

    def before_train(self, runner: Runner) -> None:
        # After a resume, which brings back the groups of the checkpoint with their first values.
        optimizer = getattr(runner.optim_wrapper, "optimizer", None)
        if optimizer is None:
            raise ConfigError(
                "ScaleWeightDecayHook: the training has several optimisers, which may step at "
                "different times; remove the hook and set each weight_decay to what is meant"
            )
        factor = self._images_per_step(runner) / self.nominal_batch_size
        values = set()
        for group in optimizer.param_groups:
            first = group.setdefault("initial_weight_decay", group["weight_decay"])
            group["weight_decay"] = first * factor
            values.add(group["weight_decay"])
        listed = ", ".join(f"{value:g}" for value in sorted(values, reverse=True))
        runner.logger.info(
            f"Weight decay scaled by {factor:g} for {factor * self.nominal_batch_size:g} images "
            f"per step (nominal: {self.nominal_batch_size}): {listed} by group."
        )

    def _images_per_step(self, runner: Runner) -> int:
        loader = runner.train_dataloader
        batch = getattr(loader, "batch_size", None) or getattr(
            getattr(loader, "batch_sampler", None), "batch_size", None
        )
        if not batch:
            raise ConfigError(
                "ScaleWeightDecayHook: train_dataloader has no batch_size; remove the hook and set "
                "optim_wrapper.optimizer.weight_decay to what is meant"
            )
        accumulated = getattr(runner.optim_wrapper, "_accumulative_counts", 1)
        return batch * accumulated * get_world_size()
