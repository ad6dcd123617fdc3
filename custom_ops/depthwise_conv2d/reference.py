"""Depthwise convolution in plain torch: the oracle, and what runs where torch is the fastest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """See ``mmattn.ops.depthwise_conv2d``; stride 1, a channels-last result."""
    y = F.conv2d(x, weight, bias, 1, padding, dilation, groups=x.shape[1])
    return _channels_last(y)


def backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    padding: Sequence[int],
    dilation: Sequence[int],
    need_input: bool,
    need_weight: bool,
    need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias; those that are not needed are empty tensors."""
    channels = x.shape[1]
    grad_x, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
        grad, x, weight, [channels], [1, 1], list(padding), list(dilation), False, [0, 0], channels,
        [need_input, need_weight or need_bias, need_bias],
    )  # fmt: skip
    return (
        _channels_last(grad_x) if need_input else x.new_empty(0),
        grad_weight.contiguous() if need_weight or need_bias else x.new_empty(0),
        grad_bias if need_bias else x.new_empty(0),
    )


def _channels_last(t: Tensor) -> Tensor:
    # Copied where needed, so that the strides are the same for every backend, also those of
    # dimensions of size one, which `contiguous` leaves as they are.
    out = torch.empty(t.shape, dtype=t.dtype, device=t.device, memory_format=torch.channels_last)
    return t if t.stride() == out.stride() else out.copy_(t)
