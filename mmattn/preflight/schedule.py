"""Numbers of a training with which it would do nothing, never save, or fail late."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmattn.config.walk import at, walk

from .numbers import is_number

#: Key -> smallest value, of whole numbers. A missing key is no problem here.
_COUNTS = {
    "train_cfg.max_iters": 1,
    "train_cfg.max_epochs": 1,
    "train_cfg.val_interval": 1,
    "train_cfg.val_begin": 0,
    "optim_wrapper.accumulative_counts": 1,
    "default_hooks.checkpoint.interval": 1,
    "default_hooks.logger.interval": 1,
    "default_hooks.visualization.interval": 1,
    "default_hooks.checkpoint.max_keep_ckpts": 1,
    "auto_scale_lr.base_batch_size": 1,
}
_OF_LOADERS = {"batch_size": 1, "num_workers": 0, "prefetch_factor": 1}
#: mmengine's own word for "without limit" or "only at the end".
_MINUS_ONE = ("default_hooks.checkpoint.interval", "default_hooks.checkpoint.max_keep_ckpts")
#: Key -> smallest value and whether that itself is allowed; any real number.
_REALS = {
    "optim_wrapper.optimizer.lr": (0.0, False),
    "optim_wrapper.optimizer.weight_decay": (0.0, True),
    "optim_wrapper.clip_grad.max_norm": (0.0, False),
}
#: Sections of a training in which every number has to be finite.
_FINITE = ("train_cfg", "optim_wrapper", "param_scheduler", "train_dataloader", "model")
#: Numbers that may be infinite: no limit.
_MAY_BE_INFINITE = ("max_norm", "max_size")
_WHAT = {
    "max_iters": "nothing would be trained",
    "max_epochs": "nothing would be trained",
    "lr": "nothing would be learnt",
    "batch_size": "a batch has at least one image",
}


def schedule_problems(cfg: Mapping[str, Any], splits: Sequence[str]) -> list[str]:
    """List numbers of a config that cannot be meant.

    Args:
        cfg: The whole config.
        splits: Splits that are run, of ``train``, ``val`` and ``test``.

    Returns:
        Problems, each a sentence that begins with the key.
    """
    problems: list[str] = []
    for split in splits:
        for key, least in _OF_LOADERS.items():
            path = f"{split}_dataloader.{key}"
            problems += _count(path, at(cfg, path), least)
    if "train" not in splits:
        return problems
    for path, least in _COUNTS.items():
        value = at(cfg, path)
        if value == -1 and path in _MINUS_ONE:
            continue
        problems += _count(path, value, least)
    for path, (least, allowed) in _REALS.items():
        problems += _real(path, at(cfg, path), least, allowed)
    asked = {*_COUNTS, *_REALS}
    for section in _FINITE:
        for path, value in walk(cfg.get(section), section):
            if isinstance(value, float) and not math.isfinite(value) and path not in asked:
                key = path.rpartition(".")[2]
                if math.isnan(value) or (key not in _MAY_BE_INFINITE and section != "model"):
                    problems.append(f"{path}={value} is no finite number")
    return problems


def _count(path: str, value: Any, least: int) -> Iterator[str]:
    if value is None:
        return
    meant = f"a whole number from {least} on is expected"
    why = _WHAT.get(path.rpartition(".")[2])
    why = f" ({why})" if why else ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        yield f"{path}={value!r} is not a number: {meant}"
    elif not is_number(value) or value != int(value):
        yield f"{path}={value!r:.40}: {meant}"
    elif value < least:
        yield f"{path}={value}: {meant}{why}"


def _real(path: str, value: Any, least: float, allowed: bool) -> Iterator[str]:
    if value is None:
        return
    meant = "a number of at least 0" if allowed else "a number above 0"
    why = _WHAT.get(path.rpartition(".")[2])
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        yield f"{path}={value!r} is not a number: {meant} is expected"
    elif not is_number(value, infinite=path.endswith(_MAY_BE_INFINITE)):
        yield f"{path}={value!r:.40} is no finite number: {meant} is expected"
    elif value < least or (value == least and not allowed):
        yield f"{path}={value}: {meant} is expected" + (f" ({why})" if why else "")
