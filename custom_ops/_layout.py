"""Memory layouts of images (N, C, H, W): contiguous and channels-last."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def memory_format(channels_last: bool) -> torch.memory_format:
    """Return torch's name of a layout."""
    return torch.channels_last if channels_last else torch.contiguous_format


def to_dense(x: Tensor) -> Tensor:
    """Return x itself if it is contiguous or channels-last, else a copy in the nearer layout."""
    if x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last):
        return x
    return x.contiguous(memory_format=memory_format(x.stride(1) < x.stride(3)))


def with_strides_of(x: Tensor, y: Tensor) -> Tensor:
    """Return y with the strides of x, which has the same shape; copied only where they differ."""
    return y if y.stride() == x.stride() else torch.empty_like(x, dtype=y.dtype).copy_(y)


def empty_channels_last(x: Tensor, shape: Sequence[int] | None = None) -> Tensor:
    """Return an uninitialized channels-last tensor with the dtype and the device of x.

    Args:
        x: Tensor whose dtype, device and (by default) shape are used.
        shape: Shape (N, C, H, W) of the result.
    """
    return torch.empty(
        x.shape if shape is None else tuple(shape),
        dtype=x.dtype, device=x.device, memory_format=torch.channels_last,
    )  # fmt: skip


def to_channels_last(x: Tensor) -> Tensor:
    """Return x with the strides that a new channels-last tensor has; copied where they differ.

    All backends then return equal strides, also along sides of size one, which
    ``Tensor.contiguous`` leaves as they are.
    """
    out = empty_channels_last(x)
    return x if x.stride() == out.stride() else out.copy_(x)
