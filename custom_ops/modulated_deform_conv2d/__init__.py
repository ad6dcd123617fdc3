"""Deformable convolution (Dai et al., ICCV 2017; with modulation Zhu et al., CVPR 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._checks import as_pair, conv_output_size
from .._operator import is_exporting
from .._precision import accumulate_dtype, autocast_to_lower
from .checks import OP, check_dtypes, check_offset_shapes, check_shapes
from .export import export_deform_conv_as as export_deform_conv_as
from .export import exported
from .op import operator as operator


def modulated_deform_conv2d(
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """Convolve with a kernel whose taps are displaced, and weighted, at every output pixel.

        y(p) = bias + sum_k weight_k · mask_k(p) · x(p + p_k + offset_k(p))

    where x is read bilinearly and is 0 outside (arXiv:1703.06211, equations 2 to 5; the mask is
    that of arXiv:1811.11168, equation 1). The columns of all taps are never in memory, forward or
    backward. Time grows with N O C kh kw Ho Wo / groups, as with a convolution.

    Coordinates and sums are float32 (float64 for float64), also for half-precision images and under
    autocast, where image and weight are cast to the lower precision: a bfloat16 coordinate could be
    wrong by half a pixel at column 256. Give offset and mask in float32 where you can.

    Args:
        x: Image, best laid out channels-last. Shape (N, C, H, W).
        offset: Displacements (down, right) in pixels, for each group of channels and each tap, taps
            in the order of the kernel's rows. Shape (N, G kh kw 2, Ho, Wo).
        mask: Factor of each tap; None stands for ones. Shape (N, G kh kw, Ho, Wo).
        weight: Kernels. Shape (O, C / groups, kh, kw).
        bias: Number added to each channel. Shape (O,).
        stride: Step between outputs, in pixels.
        padding: Zeros around the image, in pixels.
        dilation: Distance between undisplaced taps, in pixels.
        groups: Number of groups of channels that are convolved separately.
        deform_groups: Number G of groups of input channels that have their own displacements.

    Returns:
        Convolved image, laid out as x. Shape (N, O, Ho, Wo) with
        Ho = (H + 2 ph - dh (kh - 1) - 1) // sh + 1 and Wo alike.

    Raises:
        TypeError: A tensor is not floating point, or the dtypes differ (offset and mask may also
            be float32).
        ValueError: Shapes, devices or numbers do not fit.

    Example:
        >>> x, weight = torch.zeros(1, 8, 32, 48), torch.zeros(4, 8, 3, 3)
        >>> offset, mask = torch.zeros(1, 18, 16, 24), torch.ones(1, 9, 16, 24)
        >>> modulated_deform_conv2d(x, offset, mask, weight, stride=2, padding=1).shape
        torch.Size([1, 4, 16, 24])
    """
    stride, padding = as_pair(OP, "stride", stride, 1), as_pair(OP, "padding", padding, 0)
    dilation = as_pair(OP, "dilation", dilation, 1)
    check_shapes(x, weight, bias, groups, deform_groups)
    x, weight, bias = autocast_to_lower(x, weight, bias)
    check_dtypes(x, offset, mask, weight, bias)
    size = conv_output_size(OP, x.shape[2:], weight.shape[2:], stride, padding, dilation)
    taps = deform_groups * weight.shape[2] * weight.shape[3]
    check_offset_shapes(offset, mask, x.shape[0], taps, size)
    dtype = accumulate_dtype(x.dtype)
    offset, mask = offset.to(dtype), None if mask is None else mask.to(dtype)
    bias = None if bias is None else bias.contiguous()
    geometry = (stride, padding, dilation, groups, deform_groups)
    if is_exporting():
        return exported(x, offset, mask, weight, bias, *geometry)
    channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.ops.mmattn.modulated_deform_conv2d(
        x, offset, mask, weight, bias, *geometry, channels_last
    )


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """Deformable convolution without modulation; see ``modulated_deform_conv2d``."""
    return modulated_deform_conv2d(
        x, offset, None, weight, bias, stride, padding, dilation, groups, deform_groups
    )
