"""Gradients of batches that are accumulated and not applied yet, for checkpoints between them.

mmengine's checkpoints leave them out, so that a run that is resumed between two updates applies
the gradients of the last batches alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import all_gather
from mmengine.optim import OptimWrapper, OptimWrapperDict

from mmattn.inference.model import unwrap_model

from .sharding.model import FullyShardedModel
from .sharding.parts import part_like, whole

if TYPE_CHECKING:
    from mmengine.runner import Runner

#: Where a checkpoint holds them: one dictionary by name of parameter for each process.
KEY = "accumulated_gradients"


def between_updates(runner: Runner) -> bool:
    """Return whether there are batches whose gradients are not applied yet."""
    wrapper = runner.optim_wrapper
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    # DeepSpeed's and others count by themselves.
    own = [w for w in wrappers if isinstance(w, OptimWrapper)]
    return any(w._accumulative_counts > 1 and not w.should_update() for w in own)


def collect_gradients(runner: Runner) -> list[dict[str, torch.Tensor]] | None:
    """Return the gradients of each process by name; to be called in all processes.

    Returns:
        None where none are waiting.
    """
    if not between_updates(runner):
        return None
    if isinstance(runner.model, FullyShardedModel):
        return _whole_gradients(runner)
    parameters = [(n, p) for n, p in unwrap_model(runner).named_parameters() if p.requires_grad]
    if runner.world_size == 1:
        own = {n: p.grad.detach().cpu().clone() for n, p in parameters if p.grad is not None}
        return [own]
    device = parameters[0][1].device
    has = torch.tensor([int(p.grad is not None) for _, p in parameters], device=device)
    having = all_gather(has)
    gathered: list[dict[str, torch.Tensor]] = [{} for _ in having]
    for index, (name, parameter) in enumerate(parameters):
        own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for rank, gradient in enumerate(all_gather(own.detach())):
            if runner.rank == 0 and having[rank][index]:
                gathered[rank][name] = gradient.cpu()
    return gathered


def restore_gradients(runner: Runner, stored: Sequence[Mapping[str, Any]] | None) -> None:
    """Put the gradients of a checkpoint back; a warning tells where that is impossible."""
    if not between_updates(runner):
        return
    if stored is None or len(stored) != runner.world_size:
        why = "holds none" if stored is None else f"is of {len(stored)} processes"
        runner.logger.warning(
            f"Step {runner.iter} lies between two updates of the weights, and the checkpoint "
            f"{why}: the gradients of the batches since the last update are lost."
        )
        return
    if isinstance(runner.model, FullyShardedModel):
        _share_out_gradients(runner, stored)
        return
    own = stored[runner.rank]
    for name, parameter in unwrap_model(runner).named_parameters():
        if name in own:
            parameter.grad = own[name].to(parameter.device, parameter.dtype)


def _whole_gradients(runner: Runner) -> list[dict[str, torch.Tensor]]:
    """Return the gradients of a sharded model, which are means over all processes already."""
    runner.model.share_out()
    gathered = {}
    for name, parameter in unwrap_model(runner).named_parameters():
        if parameter.grad is not None:
            gradient = whole(parameter.grad)
            if runner.rank == 0:
                gathered[name] = gradient.cpu()
    return [gathered] * runner.world_size


def _share_out_gradients(runner: Runner, stored: Sequence[Mapping[str, Any]]) -> None:
    """Give each process its part of the mean of the gradients of all processes."""
    for name, parameter in unwrap_model(runner).named_parameters():
        gradients = [one[name] for one in stored if name in one]
        if gradients:
            parameter.grad = part_like(parameter, sum(gradients) / len(stored))
