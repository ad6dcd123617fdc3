"""Costs of a module: parameters, multiply-accumulates, memory that training keeps."""

from __future__ import annotations

from torch import Tensor, nn

from mmattn.complexity import count_flops, count_parameters
from mmattn.training_memory import saved_for_backward


def parameters(module: nn.Module) -> int:
    """Count the parameters of a module."""
    return count_parameters(module)


def kept_for_backward(module: nn.Module, x: Tensor) -> dict[str, int]:
    """Bytes that a forward pass keeps for the backward pass, by where they are.

    Returns:
        ``input``: those of ``x`` itself, which are there anyway; ``parameters``; ``other``.
    """
    x.requires_grad_()
    return saved_for_backward(lambda: module(x), {"parameters": module.parameters(), "input": [x]})


def macs(module: nn.Module, *shape: int) -> int:
    """Multiply-accumulates of convolutions and matrix products for an input of this shape.

    The module has to be on the meta device; it is in eval mode afterwards.
    """
    return count_flops(module, *shape) // 2
