"""Depthwise convolution in plain torch: the oracle, and the fallback where torch is the fastest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .._layout import to_channels_last


def forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Return the result at stride 1, channels-last; see ``mmattn.ops.depthwise_conv2d``."""
    y = F.conv2d(x, weight, bias, 1, padding, dilation, groups=x.shape[1])
    return to_channels_last(y)


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
    """Return the gradients of x, weight and bias, as empty tensors where they are not needed."""
    channels = x.shape[1]
    grad_x, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
        grad, x, weight, [channels], [1, 1], list(padding), list(dilation), False, [0, 0], channels,
        [need_input, need_weight or need_bias, need_bias],
    )  # fmt: skip
    return (
        to_channels_last(grad_x) if need_input else x.new_empty(0),
        grad_weight.contiguous() if need_weight or need_bias else x.new_empty(0),
        grad_bias if need_bias else x.new_empty(0),
    )
