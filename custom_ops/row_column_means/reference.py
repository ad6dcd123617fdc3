"""Means of rows and columns in plain torch: the oracle, also exported and compiled."""

from __future__ import annotations

import torch
from torch import Tensor

from .._layout import memory_format
from .._precision import accumulate_dtype


def forward(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the result; see ``mmattn.ops.row_column_means``."""
    return x.mean(3, dtype=accumulate_dtype(x.dtype)), x.mean(2, dtype=accumulate_dtype(x.dtype))


def backward(
    grad_row_means: Tensor, grad_column_means: Tensor, dtype: torch.dtype, channels_last: bool
) -> Tensor:
    """Return the gradient of x, in its dtype and layout."""
    height, width = grad_row_means.shape[2], grad_column_means.shape[2]
    layout = memory_format(channels_last)
    size, device = (*grad_row_means.shape, width), grad_row_means.device
    grad = torch.empty(size, dtype=dtype, device=device, memory_format=layout)
    rows, columns = grad_row_means[..., None] / width, grad_column_means[:, :, None] / height
    return grad.copy_(rows + columns)
