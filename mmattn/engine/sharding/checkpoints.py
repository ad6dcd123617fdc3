"""Checkpoints of a sharded model: ordinary ones, in which every weight is whole.

So a sharded training goes on from an unsharded one's file, and the other way round, by any number
of processes.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from mmengine.hooks import Hook
from torch.distributed.tensor import DTensor, distribute_tensor

from .model import FullyShardedModel
from .whole import whole

if TYPE_CHECKING:
    from mmengine.runner import Runner


def write_whole_checkpoints(runner: Runner) -> None:
    """Let ``runner`` gather what it saves, and share out what it loads, if its model is sharded."""
    if not isinstance(runner.model, FullyShardedModel):
        return
    hook = _WholeCheckpointHook()
    runner.register_hook(hook)
    save = runner.save_checkpoint

    @functools.wraps(save)
    def save_checkpoint(*args: Any, save_optimizer: bool = True, **kwargs: Any) -> None:
        # All processes take part in gathering; mmengine's function is that of the first alone.
        hook.gather(runner, with_optimizer=save_optimizer)
        try:
            save(*args, save_optimizer=save_optimizer, **kwargs)
        finally:
            hook.forget()

    runner.save_checkpoint = save_checkpoint  # type: ignore[method-assign]
    # The wrapper has done so, before it shared the weights out.
    runner._init_model_weights = lambda: None  # type: ignore[method-assign]


class _WholeCheckpointHook(Hook):
    """Puts whole tensors into a checkpoint, and parts of them into the model and the optimiser."""

    priority = "HIGHEST"

    def __init__(self) -> None:
        self._weights: dict[str, torch.Tensor] = {}
        self._optimizer: dict[str, Any] | None = None

    def gather(self, runner: Runner, *, with_optimizer: bool) -> None:
        """Gather tensor by tensor; the first process alone keeps them, in the CPU's memory."""
        runner.model.module.reshard()
        keep = runner.rank == 0
        self._weights = _gathered(runner.model.module.state_dict(), keep=keep)
        if with_optimizer:
            state = runner.optim_wrapper.state_dict()
            state["state"] = {
                key: _gathered(values, keep=keep) for key, values in state["state"].items()
            }
            self._optimizer = state

    def forget(self) -> None:
        """Let go of what was gathered."""
        self._weights, self._optimizer = {}, None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Put what was gathered in the place of this process's parts."""
        checkpoint["state_dict"] = self._weights
        if "optimizer" in checkpoint:
            checkpoint["optimizer"] = self._optimizer

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Share the weights out; each process has read all of them."""
        runner.model.module.reshard()
        own = runner.model.module.state_dict()
        weights = checkpoint.get("state_dict", checkpoint)
        for name, value in weights.items():
            part = own.get(name)
            if isinstance(part, DTensor) and part.shape == getattr(value, "shape", None):
                weights[name] = _like(part, value)

    def before_train(self, runner: Runner) -> None:
        """Share out the state that the optimiser has loaded."""
        for parameter, state in runner.optim_wrapper.optimizer.state.items():
            for key, value in state.items():
                if (
                    isinstance(parameter, DTensor)
                    and not isinstance(value, DTensor)
                    and isinstance(value, torch.Tensor)
                    and value.shape == parameter.shape
                ):
                    state[key] = _like(parameter, value)


def _gathered(values: Mapping[str, Any], *, keep: bool) -> dict[str, Any]:
    gathered = {}
    for name, value in values.items():
        value = whole(value) if isinstance(value, torch.Tensor) else value
        if keep:
            gathered[name] = value.detach().cpu() if isinstance(value, torch.Tensor) else value
    return gathered


def _like(part: DTensor, value: torch.Tensor) -> DTensor:
    """Return a whole tensor in parts as ``part`` has them; nothing is sent."""
    return distribute_tensor(
        value.to(part.device), part.device_mesh, part.placements, src_data_rank=None
    )
