"""Global mean and maximum in plain torch: the oracle, and what is exported and compiled."""

from __future__ import annotations

import torch
from torch import Tensor

from .._pictures import exact


def forward(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See ``mmattn.ops.global_mean_max``; also the position h W + w of the first maximum."""
    maximum, index = x.flatten(2).max(2)
    return x.mean((2, 3), dtype=exact(x.dtype)), maximum.to(exact(x.dtype)), index


def backward(
    grad_mean: Tensor,
    grad_max: Tensor,
    index: Tensor,
    size: list[int],
    dtype: torch.dtype,
    channels_last: bool,
) -> Tensor:
    """Gradient of x, which had this size, dtype and layout."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    grad = torch.empty(size, dtype=dtype, device=index.device, memory_format=layout)
    everywhere = grad_mean / (size[2] * size[3])
    grad.copy_(everywhere[:, :, None, None].expand(size))
    at_maximum = (everywhere + grad_max).to(dtype)
    grad.flatten(2).scatter_(2, index[:, :, None], at_maximum[:, :, None])  # flatten is a view
    return grad
