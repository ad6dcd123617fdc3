"""Parameters and multiply-accumulates of networks on the meta device, for papers' tables."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def macs(module: nn.Module, *shape: int) -> int:
    """Multiply-accumulates of convolutions and matrix products for an input of this shape."""
    module.eval()
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        module(torch.empty(shape))
    return counter.get_total_flops() // 2
