"""A value of an optimiser that falls linearly from epoch to epoch after a linear warm-up.

mmengine's schedulers multiply what they find, so that none of them can rise from 0, and a warm-up
over whole epochs ends an iteration early. Here, with base value v of a group, E epochs of L
iterations, warm-up over W epochs and iteration t in epoch e = floor(t / L):
    v(e) = v (1 - (1 - end_factor) e / E)
    value(t) = start + (v(e) - start) t / (W L)  while t < W L,  and v(e) from then on
``start`` of the group of biases can be another one.
"""

from __future__ import annotations

from typing import Any

from mmengine.optim import _ParamScheduler

from mmattn.errors import ConfigError, did_you_mean
from mmattn.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class LinearWithWarmup(_ParamScheduler):
    """Schedule the learning rate, or the momentum, of an optimiser.

    Args:
        optimizer: Optimiser, or its wrapper; given by the runner.
        param_name: What is scheduled: ``"lr"``, ``"momentum"``, or another entry of the groups.
        warmup: Length of the warm-up; 0 for none.
        start: Value at iteration 0.
        bias_start: The same for the group named ``"bias"``, which
            ``mmattn.GroupedOptimWrapperConstructor`` makes; None for ``start``.
        end_factor: Share of the base value that would be reached after the last epoch; 1 keeps it.
        begin: Must be 0.
        end: Length of the training; given by the runner.
        by_epoch: Whether ``warmup`` and ``end`` count epochs, which needs
            ``convert_to_iter_based=True`` beside it; otherwise they count iterations, and the value
            falls with each.
        epoch_length: Iterations after which the value falls; given by the runner.
        last_step: As in mmengine's schedulers.
        verbose: As in mmengine's schedulers.

    Raises:
        ConfigError: An argument is out of its range, or the optimiser has no such entry or group.
    """

    def __init__(
        self,
        optimizer: Any,
        param_name: str,
        warmup: int,
        start: float = 0.0,
        bias_start: float | None = None,
        end_factor: float = 1.0,
        begin: int = 0,
        end: int = 10**9,
        by_epoch: bool = True,
        epoch_length: int = 1,
        last_step: int = -1,
        verbose: bool = False,
    ) -> None:
        if by_epoch:
            raise ConfigError(
                "param_scheduler: LinearWithWarmup changes with every iteration; add "
                "convert_to_iter_based=True to count in epochs, or by_epoch=False for iterations"
            )
        if begin != 0:
            raise ConfigError(f"param_scheduler: LinearWithWarmup starts at 0, not at {begin=}")
        if warmup < 0 or not end_factor >= 0:
            raise ConfigError(
                f"param_scheduler: LinearWithWarmup needs warmup and end_factor of at least 0, "
                f"got {warmup=}, {end_factor=}"
            )
        groups = optimizer.param_groups
        for group in groups:
            if param_name not in group:
                numbers = [key for key, value in group.items() if isinstance(value, float)]
                raise ConfigError(
                    f"param_scheduler: the optimiser has no {param_name!r} to schedule; it has "
                    f"{', '.join(numbers)}.{did_you_mean(param_name, numbers)}"
                )
        if bias_start is not None and all(group.get("name") != "bias" for group in groups):
            raise ConfigError(
                f"param_scheduler: {bias_start=} needs a group of biases; set "
                "optim_wrapper.constructor='mmattn.GroupedOptimWrapperConstructor'"
            )
        self.warmup = warmup
        self.end_factor = end_factor
        self.epoch_length = epoch_length
        self.starts = [
            bias_start if bias_start is not None and group.get("name") == "bias" else start
            for group in groups
        ]
        super().__init__(
            optimizer, param_name, begin, end, last_step=last_step, by_epoch=False, verbose=verbose
        )

    @classmethod
    def build_iter_from_epoch(
        cls,
        *args,
        epoch_length: int,
        warmup: int,
        end: int = 10**9,
        by_epoch: bool = True,
        **kwargs,
    ) -> LinearWithWarmup:
        """Build a schedule whose ``warmup`` and ``end`` are in epochs; the runner calls this."""
        if not by_epoch:
            raise ConfigError(
                "param_scheduler: convert_to_iter_based=True converts epochs; remove it or "
                "by_epoch=False"
            )
        return cls(
            *args,
            epoch_length=epoch_length,
            warmup=warmup * epoch_length,
            end=end * epoch_length,
            by_epoch=False,
            **kwargs,
        )

    def _get_value(self) -> list[float]:
        step = self.last_step
        fallen = (step // self.epoch_length) / (self.end / self.epoch_length)
        factor = 1 - (1 - self.end_factor) * fallen
        values = [base * factor for base in self.base_values]
        if step >= self.warmup:
            return values
        return [
            start + (value - start) * (step / self.warmup)
            for start, value in zip(self.starts, values, strict=True)
        ]
