"""Depthwise convolution for large, dilated and strip kernels (RepLKNet, LKA, BEVANet)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .._library import autocast_to_lower, exporting
from .op import operator


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

    The same function as ``torch.nn.functional.conv2d`` with as many groups as channels, and faster
    where torch is slow: dilated, strip and very large kernels, above all in training. Where torch
    is as fast (see ``python -m mmattn.ops doctor``) torch runs. Time grows with N C H W kh kw.

    Half-precision inputs are summed in float32 and rounded once, at the end. Under autocast it runs
    in the lower precision, as convolutions do. Exported graphs hold the standard convolution.

    Args:
        x: The picture, best laid out channels-last (other layouts are copied). Shape (N, C, H, W).
        weight: One kernel per channel. Shape (C, 1, kh, kw).
        bias: What is added to each channel. Shape (C,).
        stride: Step between outputs, in pixels; other than 1 is torch's work.
        padding: Zeros around the picture, in pixels, or ``"same"`` (stride 1) or ``"valid"``.
        dilation: Distance between the kernel's taps, in pixels.

    Returns:
        The filtered picture, channels-last. Shape (N, C, Ho, Wo) with
        Ho = (H + 2 ph - dh (kh - 1) - 1) // sh + 1 and Wo alike.

    Raises:
        TypeError: A tensor is not floating point, or the dtypes differ.
        ValueError: Shapes, devices, stride, padding or dilation do not fit.

    Example:
        >>> x, weight = torch.zeros(1, 8, 32, 48), torch.zeros(8, 1, 7, 7)
        >>> depthwise_conv2d(x, weight, padding="same", dilation=3).shape
        torch.Size([1, 8, 32, 48])
    """
    _check_shapes(x, weight, bias)
    x, weight, bias = autocast_to_lower(x, weight, bias)
    _check_kinds(x, weight, bias)
    kernel = weight.shape[2:]
    stride, dilation = _pair("stride", stride, 1), _pair("dilation", dilation, 1)
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(
                f"depthwise_conv2d: padding must be numbers, 'same' or 'valid', got {padding!r}"
            )
        if padding == "same" and stride != (1, 1):
            raise ValueError(f"depthwise_conv2d: padding 'same' needs stride 1, got {stride}")
        total = [
            d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, kernel, strict=True)
        ]
        padding = (total[0] // 2, total[1] // 2)
        if total[0] % 2 or total[1] % 2:  # an even kernel needs one more behind than in front
            x = F.pad(x, (0, total[1] % 2, 0, total[0] % 2))
    else:
        padding = _pair("padding", padding, 0)
    for side, size, k, p, d in zip(("H", "W"), x.shape[2:], kernel, padding, dilation, strict=True):
        if size + 2 * p < d * (k - 1) + 1:
            raise ValueError(
                f"depthwise_conv2d: {side} = {size} with padding {p} is smaller than the kernel, "
                f"which spans {d * (k - 1) + 1} pixels"
            )

    if exporting():
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups=x.shape[1])
    training = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    case = (tuple(int(k) for k in kernel), dilation, training)
    own = stride == (1, 1) and operator.choose(x.device.type, x.dtype, case) != "reference"
    if own or x.device.type == "cpu":  # on CPUs torch, too, is several times faster so
        x = x.contiguous(memory_format=torch.channels_last)
    if own:
        return torch.ops.mmattn.depthwise_conv2d(x, weight, bias, padding, dilation)
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups=x.shape[1])


def _pair(name: str, value: int | Sequence[int], least: int) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(pair) != 2 or not all(isinstance(v, int) and v >= least for v in pair):
        raise ValueError(
            f"depthwise_conv2d: {name} must be one or two whole numbers of at least {least}, "
            f"got {value!r}"
        )
    return pair


def _check_shapes(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if x.dim() != 4:
        raise ValueError(
            f"depthwise_conv2d: x must have 4 dimensions (N, C, H, W), got shape {tuple(x.shape)}"
        )
    if weight.dim() != 4 or weight.shape[0] != x.shape[1] or weight.shape[1] != 1:
        raise ValueError(
            f"depthwise_conv2d: weight must have shape (C, 1, kh, kw) with C = {x.shape[1]}, got "
            f"{tuple(weight.shape)}"
        )
    if 0 in weight.shape or 0 in x.shape[2:]:
        raise ValueError(
            "depthwise_conv2d: channels, kernel and picture must not be empty, got weight "
            f"{tuple(weight.shape)} and x {tuple(x.shape)}"
        )
    if bias is not None and tuple(bias.shape) != (x.shape[1],):
        raise ValueError(
            f"depthwise_conv2d: bias must have shape ({x.shape[1]},), got {tuple(bias.shape)}"
        )


def _check_kinds(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    tensors = {"x": x, "weight": weight} | ({} if bias is None else {"bias": bias})
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise TypeError(f"depthwise_conv2d: {name} must be floating point, got {tensor.dtype}")
        if tensor.dtype != x.dtype:
            raise TypeError(
                f"depthwise_conv2d: x and {name} must have one dtype, got {x.dtype} and "
                f"{tensor.dtype}"
            )
        if tensor.device != x.device:
            raise ValueError(
                f"depthwise_conv2d: x and {name} must be on one device, got {x.device} and "
                f"{tensor.device}"
            )
