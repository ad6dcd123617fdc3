"""Rotary position embedding of two-dimensional feature maps.

A pair of neighbouring channels (u_0, u_1) is turned by an angle that grows with the position:

    (u_0 cos a - u_1 sin a, u_1 cos a + u_0 sin a)

so that products of queries and keys depend on differences of positions alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmattn.ops import is_exporting


def rotation_2d(size: Sequence[int], like: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of the angles of every position and channel.

    The first half of the d channels is turned by the row times theta_t, the second half by the
    column times theta_t, pair by pair, with theta_t = 10000^(-t / (m - 1)), t = 0, …, m - 1, and
    m = d / 4 (theta = 1 for m = 1). Rows and columns are counted from 0.

    Args:
        size: Height H and width W.
        like: Tensor whose last dimension is d, a multiple of 4, and whose dtype and device the
            result has.

    Returns:
        Two tensors of shape (H W, d).
    """
    height, width = size
    count = like.shape[-1] // 4
    # Not torch.logspace, which the exporter to ONNX does not know.
    step = torch.arange(count, dtype=torch.float64, device=like.device) / max(count - 1, 1)
    angles = (10000.0**-step).repeat_interleave(2).to(like.dtype)  # (d / 2,)
    rows = torch.arange(height, device=like.device).to(like.dtype)[:, None, None] * angles
    columns = torch.arange(width, device=like.device).to(like.dtype)[None, :, None] * angles

    def table(rows: Tensor, columns: Tensor) -> Tensor:
        size = (height, width, 2 * count)
        return torch.cat([rows.expand(size), columns.expand(size)], 2).flatten(0, 1)

    # Of lines first: they are far fewer than positions.
    return table(rows.cos(), columns.cos()), table(rows.sin(), columns.sin())


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs of neighbouring channels.

    Args:
        x: Shape (…, L, d), float32 or float64.
        cos: Cosine of each position's and channel's angle. Shape (L, d).
        sin: Sine of it, of the same shape.
    """
    if x.is_cpu and not torch.compiler.is_compiling() and not is_exporting():
        # A pair is a complex number there: one product, in a single pass.
        pairs = x if x.stride(-1) == 1 else x.contiguous()
        turn = torch.complex(cos[:, ::2], sin[:, ::2])
        turned = torch.view_as_complex(pairs.unflatten(-1, (-1, 2))) * turn
        return torch.view_as_real(turned).flatten(-2)
    swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    signed = sin.unflatten(-1, (-1, 2)) * sin.new_tensor([-1.0, 1.0])
    return torch.addcmul(x * cos, swapped, signed.flatten(-2))
