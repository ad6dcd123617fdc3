"""Means of rows and columns in plain torch: the oracle, and what is exported and compiled."""

from __future__ import annotations

import torch
from torch import Tensor

from .._pictures import exact


def forward(x: Tensor) -> tuple[Tensor, Tensor]:
    """See ``mmattn.ops.strip_means``."""
    return x.mean(3, dtype=exact(x.dtype)), x.mean(2, dtype=exact(x.dtype))


def backward(
    grad_over_width: Tensor, grad_over_height: Tensor, dtype: torch.dtype, channels_last: bool
) -> Tensor:
    """Gradient of x, which had this dtype and layout."""
    height, width = grad_over_width.shape[2], grad_over_height.shape[2]
    layout = torch.channels_last if channels_last else torch.contiguous_format
    size, device = (*grad_over_width.shape, width), grad_over_width.device
    grad = torch.empty(size, dtype=dtype, device=device, memory_format=layout)
    rows, columns = grad_over_width[..., None] / width, grad_over_height[:, :, None] / height
    return grad.copy_(rows + columns)
