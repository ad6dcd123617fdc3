"""Global average and maximum in plain torch: the oracle, also exported and compiled."""

from __future__ import annotations

import torch
from torch import Tensor

from .._layout import memory_format
from .._precision import accumulate_dtype


def forward(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, maximum and the position h W + w of the first maximum, shape (N, C) each.

    See ``mmattn.ops.global_avg_max_pool``.
    """
    maximum, index = x.flatten(2).max(2)
    return (
        x.mean((2, 3), dtype=accumulate_dtype(x.dtype)),
        maximum.to(accumulate_dtype(x.dtype)),
        index,
    )


def backward(
    grad_mean: Tensor,
    grad_max: Tensor,
    index: Tensor,
    size: list[int],
    dtype: torch.dtype,
    channels_last: bool,
) -> Tensor:
    """Return the gradient of x, in its size, dtype and layout."""
    layout = memory_format(channels_last)
    grad = torch.empty(size, dtype=dtype, device=index.device, memory_format=layout)
    everywhere = grad_mean / (size[2] * size[3])
    grad.copy_(everywhere[:, :, None, None].expand(size))
    at_maximum = (everywhere + grad_max).to(dtype)
    grad.flatten(2).scatter_(2, index[:, :, None], at_maximum[:, :, None])  # flatten is a view
    return grad
