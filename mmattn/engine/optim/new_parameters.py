"""A learning rate and a warm-up of their own for parameters that no checkpoint brought.

    optim_wrapper = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
        constructor='mmattn.NewParametersOptimWrapperConstructor',
        paramwise_cfg=dict(
            new_parameters=dict(lr_mult=10, decay_mult=0, warmup_iters=500)))

New are the parameters of inserted blocks. With base rate r(t) of a schedule, they are stepped with

    lr_mult * r(t) * min(1, (n + 1) / warmup_iters)          in their step n = 0, 1, ...

n is in the optimiser's state, so a resumed run goes on where it was.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import nn

from mmattn.errors import ConfigError, did_you_mean
from mmattn.io.plain_data import is_number
from mmattn.registry import OPTIM_WRAPPER_CONSTRUCTORS

_STEP, _WARMUP = "new_parameters_step", "new_parameters_warmup"
_DEFAULTS = {"lr_mult": 1.0, "decay_mult": 1.0, "warmup_iters": 0, "keys": (), "constructor": None}


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class NewParametersOptimWrapperConstructor:
    """Build an optimiser in which new parameters have groups of their own.

    Args:
        optim_wrapper_cfg: Config of the wrapper, whose ``optimizer`` is that of the optimiser.
        paramwise_cfg: ``new_parameters`` is a dictionary of

            - ``lr_mult``: factor of the learning rate; 1.
            - ``decay_mult``: factor of the weight decay; 1.
            - ``warmup_iters``: optimiser steps over which the rate rises linearly; 0 for none.
            - ``keys``: parts of names of parameters that are new as well, such as
              ``["decode_head"]``; as in mmengine's ``custom_keys``, a part may stand anywhere.
            - ``constructor``: type of the constructor that makes the groups which are then
              divided; mmengine's default one.

            All other settings are those of that constructor.

    Raises:
        ConfigError: A setting is unknown or out of its range, or the model has no new parameter.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        paramwise = dict(paramwise_cfg or {})
        self.settings = _checked(paramwise.pop("new_parameters", None))
        self.base = OPTIM_WRAPPER_CONSTRUCTORS.build(
            {
                "type": self.settings["constructor"] or "DefaultOptimWrapperConstructor",
                "optim_wrapper_cfg": optim_wrapper_cfg,
                "paramwise_cfg": paramwise or None,
            }
        )

    def __call__(self, model: nn.Module) -> OptimWrapper:
        wrapper = self.base(model)
        new = new_parameters(model, self.settings["keys"])
        if not new:
            raise ConfigError(
                "optim_wrapper.paramwise_cfg.new_parameters: the model has no inserted block with "
                "parameters to train; remove the setting, or name others by keys=[…]"
            )
        optimizer = wrapper.optimizer
        for group in list(optimizer.param_groups):
            _divide(optimizer, group, new, self.settings)
        if self.settings["warmup_iters"]:
            optimizer.register_step_pre_hook(_lower_rates)
            optimizer.register_step_post_hook(_restore_rates)
        values = sum(parameter.numel() for parameter in new)
        print_log(
            f"New parameters: {len(new)} ({values:,} values), learning rate x "
            f"{self.settings['lr_mult']:g}, weight decay x {self.settings['decay_mult']:g}, "
            f"warm-up over {self.settings['warmup_iters']} steps.",
            logger="current",
            level=logging.INFO,
        )
        return wrapper


def new_parameters(model: nn.Module, keys: Sequence[str] = ()) -> set[nn.Parameter]:
    """Return the trainable parameters of inserted blocks, and those with one of ``keys`` in a name.

    Raises:
        ConfigError: A key is in no name.
    """
    new: set[nn.Parameter] = set()
    for module in model.modules():
        if getattr(module, "allow_missing_keys", False):
            new.update(module.parameters())
    named = list(model.named_parameters())
    for key in keys:
        matched = [parameter for name, parameter in named if key in name]
        if not matched:
            raise ConfigError(
                f"optim_wrapper.paramwise_cfg.new_parameters.keys: {key!r} is in the name of no "
                "parameter"
            )
        new.update(matched)
    return {parameter for parameter in new if parameter.requires_grad}


def _checked(settings: Any) -> dict[str, Any]:
    where = "optim_wrapper.paramwise_cfg.new_parameters"
    if not isinstance(settings, Mapping):
        raise ConfigError(
            f"{where} must be a dictionary, such as dict(lr_mult=10), got {settings!r}"
        )
    for key in settings:
        if key not in _DEFAULTS:
            raise ConfigError(
                f"{where} has no {key!r}.{did_you_mean(key, _DEFAULTS)} "
                f"It has {', '.join(_DEFAULTS)}"
            )
    full = {**_DEFAULTS, **settings}
    for key in ("lr_mult", "decay_mult", "warmup_iters"):
        if not is_number(full[key]) or full[key] < 0:
            raise ConfigError(f"{where}.{key} must be a number of at least 0, got {full[key]!r}")
    if isinstance(full["keys"], str):
        full["keys"] = (full["keys"],)
    return full


def _divide(
    optimizer: torch.optim.Optimizer,
    group: dict[str, Any],
    new: set[nn.Parameter],
    settings: Mapping[str, Any],
) -> None:
    """Take the new parameters of a group out of it, into a group of their own."""
    chosen = [parameter for parameter in group["params"] if parameter in new]
    if not chosen:
        return
    options = {key: value for key, value in group.items() if key != "params"}
    options["lr"] = options["lr"] * settings["lr_mult"]
    if "weight_decay" in options:
        options["weight_decay"] = options["weight_decay"] * settings["decay_mult"]
    options |= {_STEP: 0, _WARMUP: settings["warmup_iters"]}
    if len(chosen) == len(group["params"]):
        group.update(options)
        return
    group["params"] = [parameter for parameter in group["params"] if parameter not in new]
    optimizer.add_param_group({"params": chosen, **options})


def _lower_rates(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Scale the rates for the step that follows; a schedule never sees the scaled ones."""
    for group in optimizer.param_groups:
        if group.get(_STEP, 0) < group.get(_WARMUP, 0):
            group["new_parameters_lr"] = group["lr"]
            group["lr"] = group["lr"] * (group[_STEP] + 1) / group[_WARMUP]


def _restore_rates(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    for group in optimizer.param_groups:
        if "new_parameters_lr" in group:
            group["lr"] = group.pop("new_parameters_lr")
            group[_STEP] += 1
