"""Trainings of the toy in which one number becomes nan or infinity, and what they leave behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import nn

SITES = ("input", "weight", "gradient", "loss", "output")


class Poison(Hook):
    """Put ``value`` into a site at some iterations, and keep all state of before and behind.

    A poisoned batch stays so when it is repeated, as one does whose own content makes the nan.

    Args:
        site: One of ``SITES``.
        at: Iterations, from 0.
        value: What is put there.
        only_rank: Rank that is poisoned; None for all.
    """

    priority = "VERY_LOW"  # the state is read behind all other hooks of the iteration before

    def __init__(
        self,
        site: str,
        at: Sequence[int],
        value: float = float("nan"),
        only_rank: int | None = None,
    ):
        from mmengine.dist import get_rank

        mine = only_rank is None or only_rank == get_rank()
        self.site, self.value = site, value
        self.at = set(at) if mine else set()
        self.states: list[dict[str, Any]] = []
        self._bad_inputs: list[Any] = []
        self._inside = False  # whether the batch in the network is a poisoned one

    def before_train_iter(self, runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter in self.at:
            if self.site == "input":
                poison_input(data_batch, self.value)
            elif self.site == "weight":
                poison_weight(model_of(runner), self.value)
            else:
                if not self._bad_inputs:
                    self._install(model_of(runner))
                self._bad_inputs.append(data_batch["inputs"])
        self.states.append(state_of(runner))  # a poisoned weight is part of what a step begins with

    def _install(self, model: Any) -> None:
        def enter(module: nn.Module, args: tuple) -> None:
            self._inside = any(args[0]["inputs"] is inputs for inputs in self._bad_inputs)

        model.data_preprocessor.register_forward_pre_hook(enter)
        poison_pass(self.site, model, self.value, lambda: self._inside)


def poison_input(batch: Any, value: float) -> None:
    """Put ``value`` into the middle of the first image of a batch."""
    image = batch["inputs"][0]
    images = image.float()
    images.view(-1)[images.numel() // 2] = value
    if image.is_floating_point():
        image.copy_(images)
    else:
        batch["inputs"][0] = images


def poison_weight(model: nn.Module, value: float) -> None:
    """Put ``value`` into the first weight of a model."""
    with torch.no_grad():
        _first_weight(model).view(-1)[0] = value


def poison_pass(site: str, model: Any, value: float, inside: Callable[[], bool]) -> None:
    """Put ``value`` into a gradient, an output or the loss of each pass that is ``inside``."""
    first = _first_weight(model)
    if site == "gradient":
        first.register_hook(lambda gradient: gradient * value if inside() else None)
    elif site == "output":
        owner = next(m for m in model.modules() if any(p is first for p in m.parameters(False)))
        owner.register_forward_hook(lambda m, args, out: out * value if inside() else None)
    elif site == "loss":
        parse = model.parse_losses

        def parse_losses(losses: dict) -> Any:
            total, parts = parse(losses)
            if not inside():
                return total, parts
            return total + value, {**parts, "loss": total.detach() + value}

        # On the class's instance, as a loss of its own would be.
        object.__setattr__(model, "parse_losses", parse_losses)
    else:
        raise ValueError(site)


def _first_weight(model: nn.Module) -> nn.Parameter:
    return next(p for p in model.parameters() if p.requires_grad and p.ndim > 1)


def model_of(runner) -> nn.Module:
    """The network without the wrapper of a distributed run."""
    return getattr(runner.model, "module", runner.model)


def state_of(runner) -> dict[str, Any]:
    """All that a step may change: weights, buffers, optimiser, averages, schedules."""
    state = {
        "model": model_of(runner).state_dict(),
        "optimizer": runner.optim_wrapper.state_dict(),
        "schedulers": [scheduler.state_dict() for scheduler in runner.param_schedulers or []],
    }
    for hook in runner.hooks:
        if hasattr(hook, "ema_model"):
            state["ema"] = hook.ema_model.state_dict()
    return deepcopy(state)


def differences(first: Any, second: Any, place: str = "") -> list[str]:
    """Places at which two states differ by as much as a bit; nan equals nan."""
    if isinstance(first, torch.Tensor):
        same = first.shape == second.shape and bytes_of(first) == bytes_of(second)
        return [] if same else [place]
    if isinstance(first, dict):
        if first.keys() != second.keys():
            return [f"{place}: keys"]
        return [d for k in first for d in differences(first[k], second[k], f"{place}.{k}")]
    if isinstance(first, (list, tuple)):
        if len(first) != len(second):
            return [f"{place}: length"]
        pairs = enumerate(zip(first, second, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{place}[{i}]")]
    if callable(first):
        return []
    return [] if first == second or (first != first and second != second) else [place]


def bytes_of(tensor: torch.Tensor) -> bytes:
    """The bits of a tensor."""
    return tensor.detach().cpu().contiguous().numpy().tobytes()
