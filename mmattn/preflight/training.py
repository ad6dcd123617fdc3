"""How a training goes: its length, optimizer, schedules, and what the best checkpoint is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmattn.config.walk import at, parts_of
from mmattn.errors import did_you_mean
from mmattn.type_names import bare_name

from .numbers import is_number, is_share

#: Whether a training counts epochs -> the key of its length.
_LENGTH = {True: "max_epochs", False: "max_iters"}
_PARAMWISE = (
    *("custom_keys", "bias_lr_mult", "bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult"),
    *("dcn_offset_lr_mult", "bypass_duplicate", "flat_decay_mult"),
)
_CLIP = (
    *("type", "max_norm", "norm_type", "error_if_nonfinite", "foreach", "clip_value"),
    *("parameters", "max_value"),
)
#: Metric -> names of its values that a best checkpoint is chosen by.
_VALUES = {
    "IoUMetric": (*("aAcc", "mIoU", "mAcc", "mDice", "mFscore", "mPrecision", "mRecall"),),
    "CocoMetric": tuple(
        f"coco/{kind}_mAP{end}"
        for kind in ("bbox", "segm", "boundary")
        for end in ("", "_50", "_75", "_s", "_m", "_l")
    ),
}


def training_problems(cfg: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a training lacks, and settings of it that do nothing or cannot be meant.

    Args:
        cfg: The whole config.
    """
    yield from _length(cfg.get("train_cfg"))
    yield from _optimizer(cfg.get("optim_wrapper"))
    yield from _best(cfg)
    for place, schedule in parts_of(cfg.get("param_scheduler"), "param_scheduler"):
        yield from _schedule(schedule, place)


def _length(loop: Any) -> Iterator[str]:
    if not isinstance(loop, Mapping):
        return
    by_epoch, length = length_of(loop)
    upstream = ("", "EpochBasedTrainLoop", "IterBasedTrainLoop")
    if bare_name(loop.get("type")) in upstream and length is None:
        key = f"train_cfg.{_LENGTH[by_epoch]}"
        yield f"{key} is missing: say how long to train, {key}=N"


def _optimizer(wrapper: Any) -> Iterator[str]:
    if not isinstance(wrapper, Mapping):
        return
    optimizer = wrapper.get("optimizer")
    name = bare_name(wrapper.get("type", "OptimWrapper"))
    if optimizer is None and name in ("OptimWrapper", "AmpOptimWrapper"):
        yield "optim_wrapper.optimizer is missing: write optimizer=dict(type='SGD', lr=0.01)"
    if isinstance(optimizer, Mapping):
        yield from _optimizer_numbers(optimizer)
    clip = wrapper.get("clip_grad")
    if clip is not None and not isinstance(clip, Mapping):
        yield f"optim_wrapper.clip_grad={clip!r} must be a dict, such as dict(max_norm=10)"
    for key in clip if isinstance(clip, Mapping) else ():
        if key not in _CLIP:
            yield (
                f"optim_wrapper.clip_grad.{key}: unexpected argument {key!r} for clip_grad."
                f"{did_you_mean(key, _CLIP)}"
            )
    yield from _paramwise(wrapper)


def _optimizer_numbers(optimizer: Mapping[str, Any]) -> Iterator[str]:
    where = "optim_wrapper.optimizer"
    lr = optimizer.get("lr")
    if "lr" in optimizer and lr is None:
        yield f"{where}.lr=None: a number above 0 is expected"
    momentum = optimizer.get("momentum")
    if momentum is not None and not (is_number(momentum) and 0 <= momentum < 1):
        yield f"{where}.momentum={momentum!r}: a number from 0 to below 1 is expected"
    eps = optimizer.get("eps")
    if eps is not None and not isinstance(eps, (tuple, list)) and not is_share(eps):
        yield f"{where}.eps={eps!r}: a number from 0 to 1 is expected"
    betas = optimizer.get("betas")
    if betas is None:
        return
    pair = isinstance(betas, (list, tuple)) and len(betas) >= 2
    if not pair or not all(is_number(beta) and 0 <= beta < 1 for beta in betas):
        yield f"{where}.betas={betas!r}: two numbers from 0 to below 1 are expected"


def _paramwise(wrapper: Mapping[str, Any]) -> Iterator[str]:
    options, where = wrapper.get("paramwise_cfg"), "optim_wrapper.paramwise_cfg"
    if options is None:
        return
    if not isinstance(options, Mapping):
        yield f"{where}={options!r} must be a dict, such as dict(norm_decay_mult=0.0)"
        return
    plain = wrapper.get("constructor") in (None, "DefaultOptimWrapperConstructor")
    for key, value in options.items():
        if plain and key not in _PARAMWISE:
            yield (
                f"{where}.{key}: unexpected argument {key!r} for DefaultOptimWrapperConstructor."
                f"{did_you_mean(str(key), _PARAMWISE)}"
            )
        elif str(key).endswith("_mult") and not (is_number(value) and value >= 0):
            yield f"{where}.{key}={value!r}: a number of at least 0 is expected"
    keys = options.get("custom_keys")
    if keys is not None and not isinstance(keys, Mapping):
        yield f"{where}.custom_keys={keys!r:.60} must be a dict of names and dicts"
    for name, inner in keys.items() if isinstance(keys, Mapping) else ():
        for key, value in inner.items() if isinstance(inner, Mapping) else ():
            if key in ("lr_mult", "decay_mult") and not (is_number(value) and value >= 0):
                yield (
                    f"{where}.custom_keys[{name!r}].{key}={value!r}: a number of at least 0 is "
                    "expected"
                )


def late_schedules(cfg: Mapping[str, Any]) -> list[str]:
    """Return schedules that begin behind the end of the training, as one that is cut short has."""
    loop = cfg.get("train_cfg")
    by_epoch, length = length_of(loop if isinstance(loop, Mapping) else {})
    found = []
    for place, one in parts_of(cfg.get("param_scheduler"), "param_scheduler"):
        if one.get("by_epoch", True) != by_epoch:
            continue
        begin = one.get("begin", 0)
        if is_number(length) and is_number(begin) and begin >= length > 0:
            found.append(
                f"{place}.begin={begin}, but the training ends at {length}: it does nothing"
            )
    return found


def length_of(loop: Mapping[str, Any]) -> tuple[bool, Any]:
    """Return whether a training counts epochs, and how many of its units there are."""
    name = bare_name(loop.get("type"))
    by_epoch = bool(name == "EpochBasedTrainLoop" or (not name and loop.get("by_epoch", True)))
    return by_epoch, loop.get(_LENGTH[by_epoch])


def _schedule(one: Mapping[str, Any], place: str) -> Iterator[str]:
    begin, end = one.get("begin", 0), one.get("end", float("inf"))
    for key, value in (("begin", begin), ("end", end)):
        if not is_number(value) and value != float("inf"):
            yield f"{place}.{key}={value!r} is not a number: a whole number from 0 on is expected"
        elif value < 0:
            yield f"{place}.{key}={value}: a whole number from 0 on is expected"
    if is_number(begin) and isinstance(end, (int, float)) and end <= begin:
        yield f"{place}.end={end} is not behind begin={begin}: the schedule would do nothing"
    switch = one.get("by_epoch")
    if switch is not None and not isinstance(switch, bool):
        yield f"{place}.by_epoch={switch!r}: True or False is expected"
    if "milestones" in one:
        stones = one["milestones"]
        whole = isinstance(stones, (list, tuple)) and all(
            is_number(s) and s == int(s) and s >= 0 for s in stones
        )
        if not whole or not stones:
            yield f"{place}.milestones={stones!r:.60}: whole numbers from 0 on are expected"
    for key in ("T_max", "step_size"):
        value = one.get(key)
        if value is not None and not (is_number(value) and value >= 1):
            yield f"{place}.{key}={value!r}: a whole number from 1 on is expected"
    gamma = one.get("gamma")
    if is_number(gamma) and gamma < 0:
        yield f"{place}.gamma={gamma}: a number of at least 0 is expected"
    factor = one.get("start_factor")
    if factor is not None and not (is_number(factor) and 0 < factor <= 1):
        yield f"{place}.start_factor={factor!r}: a number above 0, at most 1, is expected"


def _best(cfg: Mapping[str, Any]) -> Iterator[str]:
    """Judge what the best checkpoint is chosen by."""
    hook = at(cfg, "default_hooks.checkpoint")
    if not isinstance(hook, Mapping):
        return
    where = "default_hooks.checkpoint"
    rules = hook.get("rule")
    for rule in [rules] if isinstance(rules, str) else rules or ():
        if rule not in ("greater", "less", None):
            yield f"{where}.rule={rule!r}: give 'greater' or 'less'"
    best = hook.get("save_best")
    if best is None:
        return
    if not isinstance(best, (str, list, tuple)):
        yield f"{where}.save_best={best!r}: the name of a metric is expected, or 'auto'"
        return
    if cfg.get("val_evaluator") is None:
        yield (
            f"{where}.save_best={best!r}, but there is no validation (val_evaluator) to choose by: "
            f"set {where}.save_best=None"
        )
        return
    known = _values_of(cfg["val_evaluator"])
    for name in [best] if isinstance(best, str) else best:
        if known is None or not isinstance(name, str) or name in known or name == "auto":
            continue
        near = did_you_mean(name, known)
        foreign = known[0].partition("/")[0] != name.partition("/")[0] and "loss" not in name
        if near or (foreign and "/" in known[0]):
            shown = ", ".join(known[:4])
            yield f"{where}.save_best={name!r}: the metric has {shown}, ...{near}"


def _values_of(evaluator: Any) -> Sequence[str] | None:
    """Return the names of the values of an evaluator; None where they are not known."""
    items = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]
    names: list[str] = []
    for metric in items:
        if not isinstance(metric, Mapping) or metric.get("prefix") is not None:
            return None
        values = _VALUES.get(bare_name(metric.get("type")))
        if values is None:
            return None
        names += values
    return names
