"""Deformable convolution (Dai et al., ICCV 2017; with modulation Zhu et al., CVPR 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._library import autocast_to_lower, exporting
from .export import export_deform_conv_as as export_deform_conv_as
from .export import exported
from .op import operator as operator
from .op import points_dtype

NAME = "modulated_deform_conv2d"


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

    with x read bilinearly and 0 outside (arXiv:1703.06211, equations 2 to 5; the mask is that of
    arXiv:1811.11168, equation 1). The columns of all taps never are in memory, forward or backward.
    Time grows with N O C kh kw Ho Wo / groups, as a convolution's.

    Coordinates and sums are float32 (float64 for float64), also for half-precision pictures and
    under autocast, where picture and weight take the lower precision: bfloat16 coordinates would
    miss by half a pixel at column 256. Give offset and mask in float32 where you can.

    Args:
        x: The picture, best laid out channels-last. Shape (N, C, H, W).
        offset: Displacements (down, right) in pixels, for each group of channels and each tap, taps
            in the order of the kernel's rows. Shape (N, G kh kw 2, Ho, Wo).
        mask: What each tap is multiplied with; None means 1. Shape (N, G kh kw, Ho, Wo).
        weight: The kernels. Shape (O, C / groups, kh, kw).
        bias: What is added to each channel. Shape (O,).
        stride: Step between outputs, in pixels.
        padding: Zeros around the picture, in pixels.
        dilation: Distance between undisplaced taps, in pixels.
        groups: Groups of channels that are convolved separately.
        deform_groups: Groups G of input channels that have displacements of their own.

    Returns:
        The convolved picture, laid out as x. Shape (N, O, Ho, Wo) with
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
    stride, padding = _pair("stride", stride, 1), _pair("padding", padding, 0)
    dilation = _pair("dilation", dilation, 1)
    _check_shapes(x, weight, bias, groups, deform_groups)
    x, weight, bias = autocast_to_lower(x, weight, bias)
    _check_kinds(x, offset, mask, weight, bias)
    size = []
    for side, length, k, s, p, d in zip(
        "HW", x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True
    ):
        if length + 2 * p < d * (k - 1) + 1:
            raise ValueError(
                f"{NAME}: {side} = {length} with padding {p} is smaller than the kernel, which "
                f"spans {d * (k - 1) + 1} pixels"
            )
        size.append((length + 2 * p - d * (k - 1) - 1) // s + 1)
    planes = deform_groups * weight.shape[2] * weight.shape[3]
    for name, tensor, channels in (("offset", offset, 2 * planes), ("mask", mask, planes)):
        if tensor is not None and tuple(tensor.shape) != (x.shape[0], channels, *size):
            raise ValueError(
                f"{NAME}: {name} must have shape {(x.shape[0], channels, *size)}, got "
                f"{tuple(tensor.shape)}"
            )
    points = points_dtype(x.dtype)
    offset, mask = offset.to(points), None if mask is None else mask.to(points)
    bias = None if bias is None else bias.contiguous()
    geometry = (stride, padding, dilation, groups, deform_groups)
    if exporting():
        return exported(x, offset, mask, weight, bias, *geometry)
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.ops.mmattn.modulated_deform_conv2d(x, offset, mask, weight, bias, *geometry, last)


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


def _pair(name: str, value: int | Sequence[int], least: int) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(pair) != 2 or not all(isinstance(v, int) and v >= least for v in pair):
        raise ValueError(
            f"{NAME}: {name} must be one or two whole numbers of at least {least}, got {value!r}"
        )
    return pair


def _check_shapes(
    x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, deform_groups: int
) -> None:
    for name, tensor, letters in (("x", x, "N, C, H, W"), ("weight", weight, "O, C, kh, kw")):
        if tensor.dim() != 4:
            raise ValueError(
                f"{NAME}: {name} must have 4 dimensions ({letters}), got shape "
                f"{tuple(tensor.shape)}"
            )
    if 0 in weight.shape or 0 in x.shape[1:]:
        raise ValueError(
            f"{NAME}: channels, kernel and picture must not be empty, got weight "
            f"{tuple(weight.shape)} and x {tuple(x.shape)}"
        )
    channels, outputs = x.shape[1], weight.shape[0]
    for name, value, counts in (
        ("groups", groups, (channels, outputs)),
        ("deform_groups", deform_groups, (channels,)),
    ):
        if not isinstance(value, int) or value < 1 or any(count % value for count in counts):
            raise ValueError(
                f"{NAME}: {name} must divide the channels ({channels} in, {outputs} out), got "
                f"{value!r}"
            )
    if weight.shape[1] != channels // groups:
        raise ValueError(
            f"{NAME}: weight must have shape (O, {channels // groups}, kh, kw) for {channels} "
            f"channels in {groups} groups, got {tuple(weight.shape)}"
        )
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise ValueError(f"{NAME}: bias must have shape ({outputs},), got {tuple(bias.shape)}")


def _check_kinds(
    x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None
) -> None:
    tensors = {"x": x, "offset": offset, "mask": mask, "weight": weight, "bias": bias}
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if not tensor.is_floating_point():
            raise TypeError(f"{NAME}: {name} must be floating point, got {tensor.dtype}")
        # Under autocast offsets may come from a layer of any precision.
        free = name in ("offset", "mask") and x.dtype != torch.float64
        if tensor.dtype != x.dtype and not (free and tensor.dtype != torch.float64):
            raise TypeError(
                f"{NAME}: x and {name} must have one dtype, got {x.dtype} and {tensor.dtype}"
            )
        if tensor.device != x.device:
            raise ValueError(
                f"{NAME}: x and {name} must be on one device, got {x.device} and {tensor.device}"
            )
