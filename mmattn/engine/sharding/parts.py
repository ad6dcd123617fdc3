"""Whole tensors from those of which each process holds a part, and parts from whole tensors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


def whole(tensor: Tensor) -> Tensor:
    """Gather a tensor; where it is in parts, all processes have to call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def own_part(tensor: Tensor) -> Tensor:
    """Return what this process holds of a tensor; nothing is sent."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def part_like(part: DTensor, tensor: Tensor) -> DTensor:
    """Share a tensor, which all processes hold, out as ``part`` is; nothing is sent."""
    return distribute_tensor(
        tensor.to(part.device, part.dtype), part.device_mesh, part.placements, src_data_rank=None
    )


@contextmanager
def whole_parameters(
    model: nn.Module, *, keep: bool = True, share_out: bool = False
) -> Iterator[None]:
    """Let the parameters of a model be whole, in the memory of the CPU, while the block runs.

    All processes have to enter it.

    Args:
        model: Model whose parameters are in parts.
        keep: Whether this process keeps what is gathered; its model stays in parts otherwise.
        share_out: Whether the parts take what the block has made of the whole parameters.
    """
    parts = [
        (module, name, part)
        for module in model.modules()
        for name, part in module._parameters.items()
        if isinstance(part, DTensor)
    ]
    gathered: dict[DTensor, nn.Parameter] = {}
    for part in dict.fromkeys(part for _, _, part in parts):  # some have several places
        value = whole(part.detach())
        if keep:
            gathered[part] = nn.Parameter(value.cpu(), requires_grad=part.requires_grad)
    for module, name, part in parts:
        module._parameters[name] = gathered.get(part, part)
    try:
        yield
    finally:
        for module, name, part in parts:
            changed = module._parameters[name]
            module._parameters[name] = part
            if share_out and changed is not None:
                with torch.no_grad():
                    part.copy_(part_like(part, changed.detach()))


@contextmanager
def without_load_hooks(model: nn.Module) -> Iterator[None]:
    """Leave FSDP's hooks out, which look behind a load for new parts in the place of the old."""
    before = [(module, module._load_state_dict_post_hooks) for module in model.modules()]
    for module, hooks in before:
        others = {k: h for k, h in hooks.items() if ".fsdp." not in getattr(h, "__module__", "")}
        module._load_state_dict_post_hooks = OrderedDict(others)
    try:
        yield
    finally:
        for module, hooks in before:
            module._load_state_dict_post_hooks = hooks


@contextmanager
def whole_state(optimizer: torch.optim.Optimizer, *, keep: bool) -> Iterator[None]:
    """Let the state of an optimiser be whole, as ``whole_parameters`` does with a model."""
    parts = {parameter: dict(state) for parameter, state in optimizer.state.items()}
    for state in optimizer.state.values():
        for key, value in state.items():
            if isinstance(value, DTensor):
                value = whole(value)
                if keep:
                    state[key] = value.cpu()
    try:
        yield
    finally:
        for parameter, state in parts.items():
            optimizer.state[parameter].update(state)


def share_state_out(state_dict: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Replace the whole tensors of an optimiser's state, as it is in a file, by parts, in place."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, state in state_dict["state"].items():
        part = parameters[number] if number < len(parameters) else None
        for key, value in state.items():
            same = isinstance(value, Tensor) and part is not None and value.shape == part.shape
            if same and isinstance(part, DTensor):
                state[key] = part_like(part, value)
