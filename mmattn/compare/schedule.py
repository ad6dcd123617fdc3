"""A config's training, whatever counts it, as a number of iterations with the schedule to match.

A schedule keeps its shape: a warm-up over the first 5 % and a drop after two thirds stay at 5 % and
two thirds of the new length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config

#: Arguments of mmengine's schedulers that are points in time, and durations.
_TIMES = ("begin", "end", "milestones")
_DURATIONS = ("T_max", "step_size", "periods", "total_steps", "patience", "cooldown")


def original_length(cfg: Config, num_samples: int) -> tuple[int, float]:
    """How long ``cfg`` would train by itself.

    Args:
        cfg: The config.
        num_samples: Length of its training set.

    Returns:
        Iterations in all, and iterations in one epoch.

    Raises:
        ConfigError: Its training loop is none of mmengine's two.
    """
    loader = cfg.train_dataloader
    batch_size = loader.get("batch_size") or (loader.get("batch_sampler") or {}).get("batch_size")
    rounded = math.floor if loader.get("drop_last") else math.ceil
    epoch = max(1, rounded(num_samples / (batch_size or 1)))
    train = cfg.train_cfg
    kind = train.get("type") or ("EpochBasedTrainLoop" if train.get("by_epoch", True) else "Iter")
    if str(kind).endswith("EpochBasedTrainLoop") and "max_epochs" in train:
        return train["max_epochs"] * epoch, epoch
    if str(kind).startswith("Iter") and "max_iters" in train:
        return train["max_iters"], epoch
    raise ConfigError(
        f"{cfg.filename}: train_cfg={dict(train)} can't be given a number of iterations; the "
        "loops that can are EpochBasedTrainLoop and IterBasedTrainLoop."
    )


def rescaled(schedulers: Any, iterations: int, original: int, epoch: float) -> Any:
    """``param_scheduler`` of a config, for a training of ``iterations``.

    Args:
        schedulers: One scheduler, a list of them, or such lists by the name of an optimiser.
        iterations: The new length.
        original: The length that ``schedulers`` were written for.
        epoch: Iterations in an epoch of that.
    """
    if isinstance(schedulers, (list, tuple)):
        return [rescaled(one, iterations, original, epoch) for one in schedulers]
    if not isinstance(schedulers, Mapping):
        return schedulers
    if "type" not in schedulers:
        return {
            name: rescaled(one, iterations, original, epoch) for name, one in schedulers.items()
        }
    made = deepcopy(dict(schedulers))
    made.pop("convert_to_iter_based", None)
    factor = iterations / original * (epoch if made.get("by_epoch", True) else 1)
    made["by_epoch"] = False
    for key in _TIMES:
        if key in made:
            made[key] = _scaled(made[key], factor, least=0 if key == "begin" else 1)
    for key in _DURATIONS:
        if key in made:
            made[key] = _scaled(made[key], factor, least=1)
    if "end" in made:
        # Over fewer than two steps mmengine's schedulers stay at the rate that they start with.
        made["end"] = max(made["end"], made.get("begin", 0) + 2)
    if str(made["type"]).startswith("Exponential"):
        # A decay by gamma in every unit of time.
        made["gamma"] = made["gamma"] ** (1 / factor)
    return made


def _scaled(value: Any, factor: float, least: int) -> Any:
    if isinstance(value, (list, tuple)):
        return [_scaled(one, factor, least) for one in value]
    return max(least, round(value * factor))
