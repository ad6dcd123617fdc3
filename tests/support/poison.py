"""Trainings of the toy in which one number becomes nan or infinity, and what they leave behind."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import nn

SITES = ("input", "weight", "gradient", "loss", "output")


class Poison(Hook):
    """Put ``value`` into a site at some iterations, and keep all state of before and behind.

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
        self._handles: list[Any] = []

    def before_train_iter(self, runner, batch_idx: int, data_batch: Any = None) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if runner.iter in self.at:
            poison(self.site, model_of(runner), data_batch, self.value, self._handles)
        self.states.append(state_of(runner))  # a poisoned weight is part of what a step begins with


def poison(site: str, model: nn.Module, batch: Any, value: float, handles: list[Any]) -> None:
    """Put ``value`` into ``site`` of a model and its batch; undone by the handles, but a weight."""
    parameters = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    first = parameters[0]
    if site == "input":
        for key in ("inputs",):
            image = batch[key][0]
            images = image.float()
            images.view(-1)[images.numel() // 2] = value
            if image.is_floating_point():
                image.copy_(images)
            else:
                batch[key][0] = images
    elif site == "weight":
        with torch.no_grad():
            first.view(-1)[0] = value
    elif site == "gradient":
        handles.append(first.register_hook(lambda gradient: gradient * value))
    elif site == "output":
        owner = next(m for m in model.modules() if any(p is first for p in m.parameters(False)))
        handles.append(owner.register_forward_hook(lambda m, args, out: out * value))
    elif site == "loss":
        parse = model.parse_losses

        def parse_losses(losses: dict) -> Any:
            total, parts = parse(losses)
            return total + value, {**parts, "loss": total.detach() + value}

        # On the class's instance, as a loss of its own would be.
        object.__setattr__(model, "parse_losses", parse_losses)

        class Undo:
            def remove(self) -> None:
                object.__delattr__(model, "parse_losses")

        handles.append(Undo())
    else:
        raise ValueError(site)


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
