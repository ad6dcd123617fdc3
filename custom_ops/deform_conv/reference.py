"""Deformable convolution in plain torch (Dai et al., arXiv:1703.06211, equations 2 to 5).

    y(p) = sum_k w_k · m_k(p) · x(p + p_k + Δp_k(p))
with x read bilinearly and 0 outside; m, the modulation of version 2, is optional
(Zhu et al., arXiv:1811.11168).
"""

from __future__ import annotations

import torch
from torch import Tensor

Pair = tuple[int, int]


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Tensor:
    """Deformable convolution, differentiable in every tensor.

    Args:
        input: (N, C, H, W).
        offset: (N, G * kh * kw * 2, H', W'): for each of G groups of channels and each kernel
            position the displacement (y, x) in pixels.
        weight: (O, C / groups, kh, kw).
        mask: (N, G * kh * kw, H', W'), the modulation; 1 everywhere by default.

    Returns:
        (N, O, H', W')
    """
    kernel_size = (weight.size(2), weight.size(3))
    columns = deform_im2col(input, offset, mask, kernel_size, stride, padding, dilation)
    kernels = weight.flatten(1).unflatten(0, (groups, -1))  # (groups, O / groups, C / groups kh kw)
    columns = columns.unflatten(1, (groups, kernels.size(2)))
    return (kernels @ columns).view(len(input), len(weight), *offset.shape[2:])


def deform_im2col(
    input: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> Tensor:
    """What the kernel reads at every output pixel: (N, C * kh * kw, H' * W').

    Arguments as for ``deform_conv2d``. Rows are ordered by channel, then by kernel position, as
    ``weight.flatten(1)`` is.
    """
    batch, channels, height, width = input.shape
    positions = kernel_size[0] * kernel_size[1]
    out_height, out_width = offset.shape[2:]
    groups = offset.size(1) // (2 * positions)  # of channels that share their offsets
    offset = offset.reshape(batch, groups, positions, 2, out_height, out_width)

    axes = [
        torch.arange(size, device=input.device)[:, None] * step
        + torch.arange(kernel, device=input.device) * spread
        - pad
        for size, step, kernel, spread, pad in zip(
            (out_height, out_width), stride, kernel_size, dilation, padding, strict=True
        )
    ]  # (H', kh) and (W', kw)
    y = axes[0].T[:, None, :, None].expand(*kernel_size, out_height, 1).flatten(0, 1)
    x = axes[1].T[None, :, None, :].expand(*kernel_size, 1, out_width).flatten(0, 1)
    y, x = y + offset[:, :, :, 0], x + offset[:, :, :, 1]  # (N, G, kh kw, H', W')

    points = (batch * groups, 1, positions * out_height * out_width)
    planes = input.reshape(batch * groups, channels // groups, height * width)
    columns = _read(planes, y.reshape(points), x.reshape(points), height)
    columns = columns.view(batch, groups, channels // groups, positions, out_height * out_width)
    if mask is not None:
        columns = columns * mask.reshape(batch, groups, 1, positions, out_height * out_width)
    return columns.view(batch, channels * positions, out_height * out_width)


def _read(planes: Tensor, y: Tensor, x: Tensor, height: int) -> Tensor:
    """Read ``planes`` (B, C, H * W) bilinearly at B lists of points (B, 1, P): (B, C, P)."""
    width = planes.size(2) // height
    # Nothing is read further outside; clamping keeps the integers small whatever the offset.
    y, x = y.clamp(-2, height + 1), x.clamp(-2, width + 1)
    top, left = y.detach().floor(), x.detach().floor()
    down, right = y - top, x - left

    def corner(row: Tensor, column: Tensor, weight: Tensor) -> Tensor:
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        place = row.long().clamp(0, height - 1) * width + column.long().clamp(0, width - 1)
        value = planes.gather(2, place.expand(-1, planes.size(1), -1))
        return value * (weight * inside)

    return (
        corner(top, left, (1 - down) * (1 - right))
        + corner(top, left + 1, (1 - down) * right)
        + corner(top + 1, left, down * (1 - right))
        + corner(top + 1, left + 1, down * right)
    )
