"""Spatial-aware attention: deformable convolution and a norm (arXiv:2106.08322, equation 4).

    y(p) = GroupNorm(b + sum_k w_k · m_k(p) · x(p + p_k + Δp_k(p)))

over the nine taps of a 3x3 kernel; offsets Δp and masks m come from the level itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mmattn.ops import modulated_deform_conv2d

NORM_GROUPS = 16
TAPS = 9


class DeformConv(nn.Module):
    """The weights of a modulated deformable 3x3 convolution, whose offsets come from outside.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Step between outputs.
        bias: Whether to add a number to each channel, as the authors do and mmdet does not.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, bias: bool):
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights from U(-s, s) with s = 1 / sqrt(9 in_channels); the bias is 0."""
        bound = 1 / math.sqrt(TAPS * self.weight.shape[1])
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        return modulated_deform_conv2d(x, offset, mask, self.weight, self.bias, self.stride, 1)

    def extra_repr(self) -> str:
        outputs, inputs = self.weight.shape[:2]
        return f"{inputs}, {outputs}, stride={self.stride}, bias={self.bias is not None}"


class SpatialAttention(nn.Module):
    """Deformable convolution and GroupNorm of 16 groups, without an activation.

    Args:
        in_channels: Channels C of the input.
        out_channels: Channels O of the output, a multiple of 16.
        stride: Step between outputs; 2 brings the next finer level to this one's size.
        bias: Whether the convolution has a bias. The norm does not cancel it: a group has several
            channels, each with its own.

    Shape:
        - x: (N, C, H, W)
        - offset: (N, 18, H', W'), (down, right) of each tap, taps row by row
        - mask: (N, 9, H', W')
        - output: (N, O, H', W'), sizes divided by the stride and rounded up

    Example:
        >>> import torch
        >>> offset, mask = torch.zeros(1, 18, 3, 3), torch.ones(1, 9, 3, 3)
        >>> SpatialAttention(8, 16, stride=2)(torch.zeros(1, 8, 5, 6), offset, mask).shape
        torch.Size([1, 16, 3, 3])
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, bias: bool = False):
        super().__init__()
        self.conv = DeformConv(in_channels, out_channels, stride, bias=bias)
        self.norm = nn.GroupNorm(NORM_GROUPS, out_channels)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        return self.norm(self.conv(x, offset, mask))

    def affine_of(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the norm as one factor and one summand per channel.

        Args:
            mean: Means of the convolution's channels, (N, O).
            variance: Their variances about these means, (N, O).

        Returns:
            Factors and summands, each (N, O). A group's mean is that of its channels' means, and
            its variance that of their variances plus the variance of their means.
        """
        groups = (NORM_GROUPS, -1)
        means = mean.unflatten(1, groups)
        centre = means.mean(2, keepdim=True)
        spread = variance.unflatten(1, groups).mean(2, keepdim=True)
        spread = spread + (means - centre).square().mean(2, keepdim=True)
        inverse = (spread + self.norm.eps).rsqrt()
        scale = inverse.expand_as(means).flatten(1) * self.norm.weight
        shift = self.norm.bias - centre.expand_as(means).flatten(1) * scale
        return scale, shift
