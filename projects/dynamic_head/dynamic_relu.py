"""Task-aware attention: the dynamic ReLU (arXiv:2106.08322, equation 5; arXiv:2003.10027).

    y = max(a1 x + b1, a2 x + b2)
    (a1, b1, a2, b2) = (2 θ1 + 1, θ2, 2 θ3, θ4),    θ = hard_sigmoid(W2 ReLU(W1 mean(x))) - 1/2

so that θ = 0 is ReLU. Coefficients are per image and channel.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.ops import autocast_off

REDUCTION = 4


class DynamicReLU(nn.Module):
    """Piecewise linear activation whose two slopes and intercepts follow the channel means.

    Args:
        channels: Channels C; the hidden layer has a quarter of them.

    Shape:
        - input: (N, C, H, W)
        - output: (N, C, H, W)

    Example:
        >>> import torch
        >>> DynamicReLU(8)(torch.zeros(2, 8, 4, 6)).shape
        torch.Size([2, 8, 4, 6])
    """

    def __init__(self, channels: int):
        super().__init__()
        hidden = channels // REDUCTION
        self.conv1 = _named_conv(channels, hidden)
        self.conv2 = _named_conv(hidden, 4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        a1, b1, a2, b2 = (c[..., None, None] for c in self.of_means(x.mean((2, 3))))
        return torch.maximum(x * a1 + b1, x * a2 + b2)

    def of_means(self, means: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return a1, b1, a2 and b2, each (N, C), of maps with channel means (N, C).

        They are computed in the means' precision.
        """
        first, second = self.conv1.conv, self.conv2.conv
        assert isinstance(first, nn.Conv2d)
        assert isinstance(second, nn.Conv2d)
        hidden = linear(first, means).relu()
        theta = F.hardsigmoid(linear(second, hidden)) - 0.5
        a1, b1, a2, b2 = theta.chunk(4, dim=1)
        return 2 * a1 + 1, b1, 2 * a2, b2


def linear(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 1x1 convolution to vectors (N, C), in their precision, also under autocast."""
    assert conv.bias is not None
    with autocast_off(x.device.type):
        return F.linear(x, conv.weight.flatten(1).to(x.dtype), conv.bias.to(x.dtype))


def _named_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return a 1x1 convolution under the name that mmdet's ConvModule gives it."""
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(in_channels, out_channels, 1)))
