"""Depthwise convolution for large, dilated and strip kernels (RepLKNet, LKA, BEVANet)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .._checks import as_pair, conv_output_size
from .._operator import forced_backend, is_exporting
from .._precision import autocast_on, autocast_to_lower
from .checks import OP, check_dtypes, check_shapes, resolve_padding
from .op import operator, torch_serves


def depthwise_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Convolve every channel with its own kernel.

        y[n, c, h, w] = bias[c] + sum_ij weight[c, 0, i, j] x[n, c, s h + d i - p, s w + d j - p]

    This is ``torch.nn.functional.conv2d(x, weight, bias, groups=C)``, faster where torch is slow:
    with dilated, strip and very large kernels, above all in training. Where torch is as fast (see
    ``python -m mmattn.ops doctor``), torch runs. Time grows with N C H W kh kw.

    Half-precision inputs are summed in float32 and rounded once, at the end. Under autocast it runs
    in the lower precision, as convolutions do. Exported graphs hold the standard convolution.

    Args:
        x: Image, best laid out channels-last (other layouts are copied). Shape (N, C, H, W).
        weight: Kernel of each channel. Shape (C, 1, kh, kw).
        bias: Number added to each channel. Shape (C,).
        stride: Step between outputs, in pixels; other strides than 1 are computed by torch.
        padding: Zeros around the image, in pixels, or ``"same"`` (stride 1) or ``"valid"``.
        dilation: Distance between the taps of the kernel, in pixels.

    Returns:
        Filtered image, channels-last. Shape (N, C, Ho, Wo) with
        Ho = (H + 2 ph - dh (kh - 1) - 1) // sh + 1 and Wo alike.

    Raises:
        TypeError: A tensor is not floating point, or the dtypes differ.
        ValueError: Shapes, devices, stride, padding or dilation do not fit.

    Example:
        >>> x, weight = torch.zeros(1, 8, 32, 48), torch.zeros(8, 1, 7, 7)
        >>> depthwise_conv2d(x, weight, padding="same", dilation=3).shape
        torch.Size([1, 8, 32, 48])
    """
    check_shapes(x, weight, bias)
    x, weight, bias = autocast_to_lower(x, weight, bias)
    check_dtypes(x, weight, bias)
    kernel = (weight.shape[2], weight.shape[3])
    stride, dilation = as_pair(OP, "stride", stride, 1), as_pair(OP, "dilation", dilation, 1)
    if isinstance(padding, str):
        padding, (bottom, right) = resolve_padding(padding, kernel, stride, dilation)
        if bottom or right:
            x = F.pad(x, (0, right, 0, bottom))
    else:
        padding = as_pair(OP, "padding", padding, 0)
    conv_output_size(OP, x.shape[2:], kernel, stride, padding, dilation)

    if is_exporting():
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups=x.shape[1])
    training = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    case = ((int(kernel[0]), int(kernel[1])), dilation, training)
    use_own = stride == (1, 1) and operator.choose(x.device.type, x.dtype, case) != "reference"
    if use_own or x.device.type == "cpu":  # torch too is several times faster with it on CPUs
        x = x.contiguous(memory_format=torch.channels_last)
    if use_own:
        return torch.ops.mmattn.depthwise_conv2d(x, weight, bias, padding, dilation)
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups=x.shape[1])


def is_left_to_torch(
    x: Tensor, weight: Tensor, stride: tuple[int, ...], dilation: tuple[int, ...]
) -> bool:
    """Whether ``depthwise_conv2d`` would call torch's convolution on a CPU, in float32.

    For layers, whose tensors are known to fit: this takes a few microseconds, the function's own
    checks as long as a small convolution. False where it would have to be looked into: under
    autocast, in a graph, with a backend that is forced.

    Args:
        x: Image. Shape (N, C, H, W).
        weight: Kernel of each channel, of odd sides. Shape (C, 1, kh, kw).
        stride: Step between outputs, two numbers.
        dilation: Distance between the taps, two numbers.
    """
    if x.dtype != torch.float32 or weight.dtype != torch.float32 or not x.is_cpu:
        return False
    if torch.compiler.is_compiling() or is_exporting() or forced_backend() is not None:
        return False
    if x.dim() != 4 or x.shape[1] != weight.shape[0] or autocast_on("cpu"):
        return False
    training = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    kernel = (weight.shape[2], weight.shape[3])
    return stride != (1, 1) or torch_serves(kernel, (dilation[0], dilation[1]), training)
