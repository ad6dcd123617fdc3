"""Maximum and mean over gated channels in plain torch: the oracle, also exported and compiled."""

from __future__ import annotations

import torch
from torch import Tensor

from .._layout import with_strides_of


def forward(x: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
    """Return maximum and mean (N, 2, H, W), and the channel of the first maximum (N, H, W), int32.

    See ``mmattn.ops.gated_channel_pool``.
    """
    product = x.to(gate.dtype) * gate[:, :, None, None]
    maximum, index = product.max(1)
    return torch.stack([maximum, product.mean(1)], 1), index.to(torch.int32).contiguous()


def backward(
    grad: Tensor, x: Tensor, gate: Tensor, index: Tensor, need_x: bool, need_gate: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients of x and gate, as empty tensors where not needed."""
    grad_max, grad_mean = grad.unbind(1)
    everywhere = grad_mean / x.shape[1]
    at_maximum = (everywhere + grad_max).unsqueeze(1)
    of_product = torch.empty_like(x, dtype=gate.dtype).copy_(everywhere.unsqueeze(1).expand_as(x))
    of_product.scatter_(1, index.long().unsqueeze(1), at_maximum)
    grad_gate = (of_product * x).sum((2, 3)) if need_gate else gate.new_empty(0)
    if not need_x:
        return x.new_empty(0), grad_gate
    return with_strides_of(x, (of_product * gate[:, :, None, None]).to(x.dtype)), grad_gate
