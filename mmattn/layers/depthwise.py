"""A depthwise convolution layer that runs on the operator made for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.ops import depthwise_conv2d
from mmattn.ops.depthwise_conv2d import is_left_to_torch


class DepthwiseConv2d(nn.Conv2d):
    """``nn.Conv2d`` with one kernel per channel, computed by ``mmattn.ops.depthwise_conv2d``.

    The same function, weights and initial values as ``nn.Conv2d`` with ``groups=channels``; faster
    for dilated, strip and large kernels, above all in training. On a CPU its result is laid out
    channels-last.

    Args:
        channels: Channels C of input and output.
        kernel_size: Height and width of the kernel.
        stride: Step between outputs, in pixels.
        padding: Zeros around the image, in pixels, or ``"same"``, the default.
        dilation: Distance between taps, in pixels.
        bias: Whether to add a learned bias to each channel.

    Shape:
        - input: (N, C, H, W)
        - output: (N, C, Ho, Wo); (N, C, H, W) with the defaults

    Example:
        >>> import torch
        >>> DepthwiseConv2d(8, (1, 11), dilation=3)(torch.zeros(1, 8, 16, 20)).shape
        torch.Size([1, 8, 16, 20])
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = "same",
        dilation: int | tuple[int, int] = 1,
        bias: bool = True,
    ):
        super().__init__(
            channels, channels, kernel_size, stride, padding, dilation, groups=channels, bias=bias
        )

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight
        # Of even sides, "same" pads one side more.
        simple = weight.shape[2] % 2 == 1 and weight.shape[3] % 2 == 1
        if simple and is_left_to_torch(input, weight, self.stride, self.dilation):
            x = input.contiguous(memory_format=torch.channels_last)
            return F.conv2d(
                x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups
            )
        return depthwise_conv2d(
            input,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )
