"""An exponential moving average that follows the weights closely at first, and slower and slower.

After update t the average keeps this share of itself, and takes the rest from the weights:
    d(t) = decay (1 - exp(-t / ramp))
"""

from __future__ import annotations

import math

import torch
from mmengine.model import ExponentialMovingAverage
from torch import Tensor, nn
from torch import _foreach_copy_ as _foreach_copy  # pyright: ignore[reportPrivateImportUsage]
from torch import _foreach_lerp_ as _foreach_lerp  # pyright: ignore[reportPrivateImportUsage]

from mmattn.registry import MODELS


@MODELS.register_module()
class RampedEMA(ExponentialMovingAverage):
    """Averaged model for mmengine's ``EMAHook``: ``ema_type="mmattn.RampedEMA"``.

    mmdet's ``ExpMomentumEMA`` computes the same, tensor by tensor; here all tensors are updated at
    once. Integer buffers are those of the model. The first update copies the model.

    Args:
        model: Model to average.
        decay: Largest share that the average keeps, d.
        ramp: Updates after which it has risen to 1 - 1/e of that.
        interval: Iterations from one update to the next: ``accumulative_counts`` of the optimiser's
            wrapper, since weights that did not change need no update. t counts updates.
        device: Where the average is kept; None for that of the model.
        update_buffers: Whether floating-point buffers, as the statistics of batch norms, are
            averaged too; otherwise they are those of the model.

    Raises:
        ValueError: ``ramp`` or ``interval`` is below 1.
    """

    def __init__(
        self,
        model: nn.Module,
        decay: float = 0.9999,
        ramp: float = 2000,
        interval: int = 1,
        device: torch.device | None = None,
        update_buffers: bool = True,
    ) -> None:
        if ramp < 1 or interval < 1:
            raise ValueError(f"ramp and interval must be at least 1, got {ramp=}, {interval=}")
        super().__init__(model, 1 - decay, interval, device, update_buffers)
        self.decay = decay
        self.ramp = ramp

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Update the average after an iteration of training ``model``."""
        self.steps += 1
        step = int(self.steps)
        update, rest = divmod(step, self.interval)
        averaged, copied = _tensors(self.module, self.update_buffers)
        new, others = _tensors(model, self.update_buffers)
        if rest == 0 or step == 1:
            share = 0.0 if step == 1 else self.decay * (1 - math.exp(-update / self.ramp))
            device = averaged[0].device
            if new[0].device != device:
                new = [value.to(device) for value in new]
            _foreach_lerp(averaged, new, 1 - share)
        if copied:
            _foreach_copy(copied, others)


def _tensors(model: nn.Module, buffers: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Return the tensors of a model to average, and those to copy."""
    averaged: list[Tensor] = list(model.parameters())
    copied: list[Tensor] = []
    for value in model.buffers():
        (averaged if buffers and value.is_floating_point() else copied).append(value)
    return averaged, copied
