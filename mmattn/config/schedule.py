"""The length of a config's training, and its schedule at another length.

A schedule keeps its shape: a warm-up over the first 5 % and a drop after two thirds stay at 5 % and
two thirds of the new length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config

#: Arguments of mmengine's schedulers that are points in time, and durations.
_TIMES = ("begin", "end", "milestones")
_DURATIONS = ("T_max", "step_size", "periods", "total_steps", "patience", "cooldown", "warmup")


def original_length(cfg: Config, num_samples: int) -> tuple[int, float]:
    """Compute how long ``cfg`` would train by itself.

    Args:
        cfg: Config with ``train_cfg`` and ``train_dataloader``.
        num_samples: Number of samples in its training set.

    Returns:
        Iterations in all, and iterations in one epoch.

    Raises:
        ConfigError: Its training loop is not one of mmengine's two.
    """
    loader = cfg.train_dataloader
    batch_size = loader.get("batch_size") or (loader.get("batch_sampler") or {}).get("batch_size")
    rounded = math.floor if loader.get("drop_last") else math.ceil
    epoch = max(1, rounded(num_samples / (batch_size or 1)))
    train = cfg.train_cfg
    loop = train.get("type") or ("EpochBasedTrainLoop" if train.get("by_epoch", True) else "Iter")
    if str(loop).endswith("EpochBasedTrainLoop") and "max_epochs" in train:
        return train["max_epochs"] * epoch, epoch
    if str(loop).startswith("Iter") and "max_iters" in train:
        return train["max_iters"], epoch
    raise ConfigError(
        f"{cfg.filename}: train_cfg={dict(train)} can't be turned into a number of iterations; "
        "the loops that can are EpochBasedTrainLoop and IterBasedTrainLoop."
    )


def to_iterations(schedulers: Any, iterations: int, original: int, epoch: float) -> Any:
    """Rescale the ``param_scheduler`` of a config to a training that counts iterations.

    Args:
        schedulers: A scheduler, a list of them, or such lists by the name of an optimiser.
        iterations: New length of the training.
        original: Length that ``schedulers`` were written for, in iterations.
        epoch: Number of iterations in an epoch of that training.
    """

    def convert(scheduler: dict[str, Any]) -> dict[str, Any]:
        scheduler.pop("convert_to_iter_based", None)
        factor = iterations / original * (epoch if scheduler.get("by_epoch", True) else 1)
        return _scale(scheduler | {"by_epoch": False}, factor)

    return _each(schedulers, convert)


def stretch(schedulers: Any, factor: float) -> Any:
    """Rescale the ``param_scheduler`` of a config; each keeps its unit, epochs or iterations.

    Args:
        schedulers: A scheduler, a list of them, or such lists by the name of an optimiser.
        factor: New length of the training, as a share of the old one.
    """
    return _each(schedulers, lambda scheduler: _scale(scheduler, factor))


def _each(schedulers: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Change a copy of each scheduler."""
    if isinstance(schedulers, (list, tuple)):
        return [_each(entry, change) for entry in schedulers]
    if not isinstance(schedulers, Mapping):
        return schedulers
    if "type" not in schedulers:
        return {name: _each(entry, change) for name, entry in schedulers.items()}
    return change(deepcopy(dict(schedulers)))


def _scale(scheduler: dict[str, Any], factor: float) -> dict[str, Any]:
    for key in _TIMES:
        if key in scheduler:
            scheduler[key] = _scaled(scheduler[key], factor, least=0 if key == "begin" else 1)
    for key in _DURATIONS:
        if key in scheduler:
            scheduler[key] = _scaled(scheduler[key], factor, least=1)
    if "end" in scheduler and not scheduler.get("convert_to_iter_based"):
        # Over fewer than two steps mmengine's schedulers stay at the rate that they start with.
        scheduler["end"] = max(scheduler["end"], scheduler.get("begin", 0) + 2)
    if str(scheduler["type"]).startswith("Exponential"):
        # A decay by gamma in every unit of time.
        scheduler["gamma"] = scheduler["gamma"] ** (1 / factor)
    return scheduler


def _scaled(value: Any, factor: float, least: int) -> Any:
    if isinstance(value, (list, tuple)):
        return [_scaled(item, factor, least) for item in value]
    return max(least, round(value * factor))
