"""A depthwise convolution layer that runs on the operator made for it."""

from __future__ import annotations

from torch import Tensor, nn

from mmattn.ops import depthwise_conv2d


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
        return depthwise_conv2d(
            input,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )
