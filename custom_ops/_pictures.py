"""What operators on pictures (N, C, H, W) share: checks, precision, memory layout.

Statistics and gates of a picture are small, so they are float32 for half-precision pictures:
rounding a gate would scale a whole map wrongly, an error that no later layer averages out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def exact(dtype: torch.dtype) -> torch.dtype:
    """The dtype of a picture's statistics and gates: float64 for float64, else float32."""
    return torch.promote_types(dtype, torch.float32)


def check_picture(op: str, x: Tensor, empty: Sequence[str] = ("H", "W")) -> None:
    """Refuse what is no picture.

    Args:
        op: Who asks.
        x: What should have shape (N, C, H, W) and be floating point.
        empty: Sides that must not be 0.
    """
    if x.dim() != 4:
        raise ValueError(f"{op}: x must have 4 dimensions (N, C, H, W), got shape {tuple(x.shape)}")
    if not x.is_floating_point():
        raise TypeError(f"{op}: x must be floating point, got {x.dtype}")
    sides = dict(zip("NCHW", x.shape, strict=True))
    for side in empty:
        if sides[side] == 0:
            raise ValueError(f"{op}: {side} must be at least 1, got shape {tuple(x.shape)}")


def as_gate(op: str, name: str, gate: Tensor, x: Tensor, shape: Sequence[int], axes: str) -> Tensor:
    """A gate for x, checked, in the dtype that it is applied in, contiguous.

    Args:
        op: Who asks.
        name: The gate's.
        gate: In the dtype of x or the one that it is applied in.
        x: The picture.
        shape: What the gate's shape should be.
        axes: The same in letters.
    """
    if tuple(gate.shape) != tuple(shape):
        raise ValueError(
            f"{op}: {name} must have shape ({axes}) = {tuple(shape)}, got {tuple(gate.shape)}"
        )
    if gate.dtype not in (x.dtype, exact(x.dtype)):
        wanted = " or ".join(dict.fromkeys(map(str, (x.dtype, exact(x.dtype)))))
        raise TypeError(f"{op}: {name} must be {wanted} for x of {x.dtype}, got {gate.dtype}")
    if gate.device != x.device:
        raise ValueError(
            f"{op}: x and {name} must be on one device, got {x.device} and {gate.device}"
        )
    return gate.to(exact(x.dtype)).contiguous()


def dense(x: Tensor) -> Tensor:
    """x itself if it is contiguous or channels-last in memory, else a copy in the nearer one."""
    if x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last):
        return x
    nearer = torch.channels_last if x.stride(1) < x.stride(3) else torch.contiguous_format
    return x.contiguous(memory_format=nearer)


def in_layout(of: Tensor, y: Tensor) -> Tensor:
    """y with the strides of ``of``, which has the same shape; copied only where they differ."""
    return y if y.stride() == of.stride() else torch.empty_like(of, dtype=y.dtype).copy_(y)
