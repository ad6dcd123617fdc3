"""Checks of deformable convolution's arguments."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._checks import check_floating_point, check_same_device, check_tensor

OP = "modulated_deform_conv2d"


def check_shapes(
    x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, deform_groups: int
) -> None:
    """Raise ValueError unless image, kernels and groups fit and no axis but N is empty.

    What is no tensor is a TypeError.
    """
    if bias is not None:
        check_tensor(OP, "bias", bias)
    for name, tensor, axes in (("x", x, "N, C, H, W"), ("weight", weight, "O, C, kh, kw")):
        check_tensor(OP, name, tensor)
        if tensor.dim() != 4:
            raise ValueError(
                f"{OP}: {name} must have 4 dimensions ({axes}), got shape {tuple(tensor.shape)}"
            )
    if 0 in weight.shape or 0 in x.shape[1:]:
        raise ValueError(
            f"{OP}: channels, kernel and image must not be empty, got weight "
            f"{tuple(weight.shape)} and x {tuple(x.shape)}"
        )
    channels, outputs = x.shape[1], weight.shape[0]
    for name, value, counts in (
        ("groups", groups, (channels, outputs)),
        ("deform_groups", deform_groups, (channels,)),
    ):
        if not isinstance(value, int) or value < 1 or any(count % value for count in counts):
            raise ValueError(
                f"{OP}: {name} must divide the channels ({channels} in, {outputs} out), got "
                f"{value!r}"
            )
    if weight.shape[1] != channels // groups:
        raise ValueError(
            f"{OP}: weight must have shape (O, {channels // groups}, kh, kw) for {channels} "
            f"channels in {groups} groups, got {tuple(weight.shape)}"
        )
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise ValueError(f"{OP}: bias must have shape ({outputs},), got {tuple(bias.shape)}")


def check_offset_shapes(
    offset: Tensor, mask: Tensor | None, batch: int, taps: int, size: Sequence[int]
) -> None:
    """Raise ValueError unless offset and mask fit.

    Args:
        offset: Displacements. Shape (N, 2 taps, Ho, Wo).
        mask: Modulation. Shape (N, taps, Ho, Wo).
        batch: Expected batch size N.
        taps: Expected number of taps, those of all deformable groups together.
        size: Expected height and width of the result.
    """
    check_tensor(OP, "offset", offset)
    for name, tensor, channels in (("offset", offset, 2 * taps), ("mask", mask, taps)):
        if tensor is not None:
            check_tensor(OP, name, tensor)
        if tensor is not None and tuple(tensor.shape) != (batch, channels, *size):
            raise ValueError(
                f"{OP}: {name} must have shape {(batch, channels, *size)}, got "
                f"{tuple(tensor.shape)}"
            )


def check_dtypes(
    x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None
) -> None:
    """Check dtypes and devices.

    Raises:
        TypeError: A tensor is not floating point, or its dtype differs from that of x. Offset and
            mask may have any other dtype than float64, since under autocast they may come from a
            layer of any precision.
        ValueError: A tensor is on another device than x.
    """
    tensors = {"x": x, "offset": offset, "mask": mask, "weight": weight, "bias": bias}
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        check_floating_point(OP, name, tensor)
        any_precision = name in ("offset", "mask") and torch.float64 not in (x.dtype, tensor.dtype)
        if tensor.dtype != x.dtype and not any_precision:
            raise TypeError(
                f"{OP}: x and {name} must have the same dtype, got {x.dtype} and {tensor.dtype}"
            )
    check_same_device(OP, tensors)
