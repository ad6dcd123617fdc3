"""What modules cost: parameters, multiply-accumulates, memory that training keeps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def kept_for_backward(module: nn.Module, x: Tensor) -> dict[str, int]:
    """Bytes that a forward pass keeps for the backward pass, by where they are.

    Returns:
        ``input``: those of ``x`` itself, which are there anyway; ``parameters``; ``other``.
    """
    owners = {p.untyped_storage().data_ptr(): "parameters" for p in module.parameters()}
    owners[x.untyped_storage().data_ptr()] = "input"
    kept: dict[int, tuple[str, int]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = (owners.get(storage.data_ptr(), "other"), storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(x.requires_grad_())
    totals = dict.fromkeys(("input", "parameters", "other"), 0)
    for owner, size in kept.values():
        totals[owner] += size
    return totals


def macs(module: nn.Module, *shape: int) -> int:
    """Multiply-accumulates of convolutions and matrix products for an input of this shape.

    The module has to be on the meta device; it is in eval mode afterwards.
    """
    module.eval()
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        module(torch.empty(shape))
    return counter.get_total_flops() // 2
