"""Maximum and mean over gated channels in plain torch: the oracle, exported and compiled."""

from __future__ import annotations

import torch
from torch import Tensor

from .._pictures import in_layout


def forward(x: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
    """See ``mmattn.ops.gated_channel_max_mean``; also the channel of the first maximum, int32."""
    product = x.to(gate.dtype) * gate[:, :, None, None]
    maximum, index = product.max(1)
    return torch.stack([maximum, product.mean(1)], 1), index.to(torch.int32).contiguous()


def backward(
    grad: Tensor, x: Tensor, gate: Tensor, index: Tensor, need_x: bool, need_gate: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of x and gate; one that is not needed is an empty tensor."""
    grad_max, grad_mean = grad.unbind(1)
    everywhere = grad_mean / x.shape[1]
    at_maximum = (everywhere + grad_max).unsqueeze(1)
    of_product = torch.empty_like(x, dtype=gate.dtype).copy_(everywhere.unsqueeze(1).expand_as(x))
    of_product.scatter_(1, index.long().unsqueeze(1), at_maximum)
    grad_gate = (of_product * x).sum((2, 3)) if need_gate else gate.new_empty(0)
    if not need_x:
        return x.new_empty(0), grad_gate
    return in_layout(x, (of_product * gate[:, :, None, None]).to(x.dtype)), grad_gate
