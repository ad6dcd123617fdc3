"""Short options: ``epochs=50``, ``iters=300``, ``batch=4``, ``lr=0.001`` and ``workers=2``.

Each sets what one means by it, in every place that it has: a shorter training keeps the shape of
its schedule and is still validated and saved as often in the course of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError

from .schedule import stretch
from .walk import LOADERS, walk

if TYPE_CHECKING:
    from mmengine.config import Config

logger = logging.getLogger("mmattn")

#: Arguments of hooks that are a number of epochs.
_EPOCHS_OF_HOOKS = ("last_epochs", "num_last_epochs", "switch_epoch")


def set_epochs(cfg: Config, epochs: Any) -> None:
    """Train for ``epochs`` passes over the images.

    Raises:
        ConfigError: It is no whole number above 0, or the config counts iterations.
    """
    _set_length(cfg, "epochs", epochs)


def set_iterations(cfg: Config, iterations: Any) -> None:
    """Train for ``iterations`` steps.

    Raises:
        ConfigError: It is no whole number above 0, or the config counts epochs.
    """
    _set_length(cfg, "iters", iterations)


def set_batch(cfg: Config, batch: Any) -> None:
    """Set the images of a step, on each device.

    Raises:
        ConfigError: It is no whole number above 0, or the config has no batch size.
    """
    batch = _whole(cfg, "batch", batch, least=1)
    loader = cfg.get("train_dataloader") or {}
    for place in (loader, loader.get("batch_sampler") or {}):
        if "batch_size" in place:
            place["batch_size"] = batch
            return
    raise ConfigError(f"{cfg.filename}: batch={batch}: train_dataloader has no batch_size")


def set_learning_rate(cfg: Config, rate: Any) -> None:
    """Set the learning rate of the optimiser, from which its schedule and multipliers start.

    Raises:
        ConfigError: It is no number above 0, or there is not one optimiser with a rate.
    """
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not rate > 0:
        raise ConfigError(f"{cfg.filename}: lr={rate}: give a number above 0, such as lr=0.001")
    optimizer = (cfg.get("optim_wrapper") or {}).get("optimizer") or {}
    if "lr" not in optimizer:
        raise ConfigError(
            f"{cfg.filename}: lr={rate}: optim_wrapper.optimizer.lr is not there; set the rate of "
            "each optimiser by its own key"
        )
    optimizer["lr"] = rate


def set_workers(cfg: Config, workers: Any) -> None:
    """Set the processes that load images, of each loader.

    Raises:
        ConfigError: It is no whole number of at least 0.
    """
    workers = _whole(cfg, "workers", workers, least=0)
    for key in LOADERS:
        if isinstance(cfg.get(key), dict):
            cfg[key]["num_workers"] = workers


#: Option -> what it does.
SHORT_OPTIONS: Mapping[str, Callable[[Config, Any], None]] = {
    "epochs": set_epochs,
    "iters": set_iterations,
    "batch": set_batch,
    "lr": set_learning_rate,
    "workers": set_workers,
}


def apply_short_options(cfg: Config, options: dict[str, Any]) -> None:
    """Apply the short ones of ``options`` to ``cfg``, and take them out.

    Raises:
        ConfigError: One does not fit the config.
    """
    for name, change in SHORT_OPTIONS.items():
        if name in options:
            change(cfg, options.pop(name))


def _whole(cfg: Config, name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(
            f"{cfg.filename}: {name}={value}: give a whole number of at least {least}"
        )
    return value


def _set_length(cfg: Config, unit: str, length: Any) -> None:
    length = _whole(cfg, unit, length, least=1)
    key, other = f"max_{unit}", "iters" if unit == "epochs" else "epochs"
    train = cfg.get("train_cfg") or {}
    if key not in train:
        old = train.get(f"max_{other}")
        fix = (
            f"this training counts {other}, {old} by itself: say {other}=N"
            if old
            else f"train_cfg has no {key}"
        )
        raise ConfigError(f"{cfg.filename}: {unit}={length}: {fix}")
    factor = length / train[key]
    changed = [f"train_cfg.{key} {train[key]} -> {length}"]

    def scale(place: dict[str, Any], name: str, path: str) -> None:
        new = max(1, round(place[name] * factor))
        if new != place[name]:
            changed.append(f"{path}.{name} {place[name]} -> {new}")
            place[name] = new

    train[key] = length
    for name in ("val_begin", "val_interval"):
        if train.get(name):
            scale(train, name, "train_cfg")
    if train.get("dynamic_intervals"):
        changed.append("train_cfg.dynamic_intervals")
        train["dynamic_intervals"] = [
            (round(start * factor), max(1, round(interval * factor)))
            for start, interval in train["dynamic_intervals"]
        ]
    checkpoint = (cfg.get("default_hooks") or {}).get("checkpoint") or {}
    if checkpoint.get("by_epoch", True) == (unit == "epochs"):
        for name in ("save_begin", "interval"):
            if checkpoint.get(name, 0) > 0:  # -1: never
                scale(checkpoint, name, "default_hooks.checkpoint")
    if cfg.get("param_scheduler") is not None:
        cfg.param_scheduler = stretch(cfg.to_dict()["param_scheduler"], factor)
        changed.append("the times of param_scheduler")
    if unit == "epochs":
        for path, hook in walk(cfg.get("custom_hooks"), "custom_hooks"):
            for name in _EPOCHS_OF_HOOKS:
                if isinstance(hook, dict) and name in hook:
                    scale(hook, name, path)
    logger.info("%s=%d: %s", unit, length, ", ".join(changed))
