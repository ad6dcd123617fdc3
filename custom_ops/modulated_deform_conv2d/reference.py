"""Deformable convolution in plain torch (Dai et al., arXiv:1703.06211, equations 2 to 5).

    y(p) = b + sum_k w_k · m_k(p) · x(p + p_k + Δp_k(p))

with x read bilinearly and 0 outside; m is the modulation of version 2 (Zhu et al.,
arXiv:1811.11168). Pixels are read as rows of a table of pixels, one image after the other, so that
the columns of one image alone are in memory. Half precisions are computed in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .._layout import memory_format


@dataclass
class _Reading:
    """Points at which one image is read.

    Attributes:
        index: Rows of the table of pixels for the four corners around each point; the last row
            (zeros) for a corner outside the image. Shape (4, Ho Wo, G, taps).
        inside: 1 for a corner inside the image, else 0. Shape (4, Ho Wo, G, taps).
        down: Distance of the point below its top left corner, in pixels. Shape (Ho Wo, G, taps).
        right: Distance of the point to the right of its top left corner, in pixels. Same shape.
        mask: Modulation. Same shape.
    """

    index: Tensor
    inside: Tensor
    down: Tensor
    right: Tensor
    mask: Tensor

    def bilinear(self) -> Tensor:
        """Return the weights of the corners, without modulation. Shape (4, Ho Wo, G, taps)."""
        up, back = 1 - self.down, 1 - self.right
        corners = (up * back, up * self.right, self.down * back, self.down * self.right)
        return torch.stack(corners) * self.inside


def forward(
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    deform_groups: int,
    channels_last: bool,
) -> Tensor:
    """Return the result; see ``mmattn.ops.modulated_deform_conv2d``.

    Offset and mask are in the dtype of the sums, float32 or float64.
    """
    wide, kernels = x.to(offset.dtype), _kernels(weight.to(offset.dtype), groups)
    size = (len(x), weight.shape[0], *offset.shape[2:])
    y = torch.empty(
        size, dtype=x.dtype, device=x.device, memory_format=memory_format(channels_last)
    )
    for n in range(len(x)):
        reading = _locate(x, offset, mask, weight, n, stride, padding, dilation, deform_groups)
        columns = _read(wide[n], reading, groups)  # (groups, Ho Wo, taps C / groups)
        total = (columns @ kernels).transpose(1, 2).reshape(size[1:])
        y[n] = total if bias is None else total + bias.to(total.dtype)[:, None, None]
    return y


def backward(
    grad: Tensor,
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    deform_groups: int,
    channels_last: bool,
    need_x: bool,
    need_offset: bool,
    need_weight: bool,
    need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, offset, mask, weight and bias, empty where not needed."""
    wide, wide_grad, kernels = (t.to(offset.dtype) for t in (x, grad, _kernels(weight, groups)))
    grad_x = (
        torch.empty_like(x, memory_format=memory_format(channels_last))
        if need_x
        else x.new_empty(0)
    )
    grad_offset = offset.new_zeros(offset.shape if need_offset else 0)
    grad_mask = offset.new_zeros(mask.shape if need_offset and mask is not None else 0)
    grad_kernels = torch.zeros_like(kernels)
    for n in range(len(x)):
        reading = _locate(x, offset, mask, weight, n, stride, padding, dilation, deform_groups)
        out = wide_grad[n].flatten(1).unflatten(0, (groups, -1))  # (groups, O / groups, Ho Wo)
        if need_weight:
            grad_kernels += (out @ _read(wide[n], reading, groups)).transpose(1, 2)
        if not (need_x or need_offset):
            continue
        # Gradient of the numbers that were read.
        columns = _by_deform_group((kernels @ out).transpose(1, 2), x.shape[1], reading)
        if need_x:
            grad_x[n] = _spread(columns, reading, x.shape[2:])
        if need_offset:
            *_, height, width = offset.shape
            grads = _differentiate_points(columns, _table(wide[n], reading), reading)
            planes = (t.permute(1, 2, 0).reshape(-1, height, width) for t in grads)
            down, right, modulation = planes  # (G taps, Ho, Wo)
            grad_offset[n] = torch.stack((down, right), 1).flatten(0, 1)
            if mask is not None:
                grad_mask[n] = modulation
    return (
        grad_x,
        grad_offset,
        grad_mask,
        _weight(grad_kernels, weight) if need_weight else weight.new_empty(0),
        wide_grad.sum((0, 2, 3)).to(weight.dtype) if need_bias else weight.new_empty(0),
    )


def _kernels(weight: Tensor, groups: int) -> Tensor:
    """Rearrange (O, C / groups, kh, kw) to (groups, taps C / groups, O / groups)."""
    by_group = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    return by_group.permute(0, 3, 2, 1).flatten(1, 2)


def _weight(kernels: Tensor, like: Tensor) -> Tensor:
    """Rearrange (groups, taps C / groups, O / groups) to (O, C / groups, kh, kw)."""
    taps = like.shape[2] * like.shape[3]
    by_tap = kernels.unflatten(1, (taps, like.shape[1]))
    return by_tap.permute(0, 3, 2, 1).reshape(like.shape).to(like.dtype).contiguous()


def _locate(x, offset, mask, weight, n, stride, padding, dilation, deform_groups) -> _Reading:
    """Find the points at which image n is read."""
    height, width = x.shape[2:]
    kernel, size = weight.shape[2:], offset.shape[2:]
    points = offset[n].reshape(deform_groups, -1, 2, size[0] * size[1]).permute(2, 3, 0, 1)

    def axis(d: int) -> Tensor:
        """Return rows or columns that the undeformed kernel reads. Shape (size, kernel)."""
        steps = torch.arange(size[d], device=x.device)[:, None] * stride[d] - padding[d]
        return steps + torch.arange(kernel[d], device=x.device) * dilation[d]

    rows = axis(0)[:, None, :, None].expand(*size, *kernel).reshape(-1, 1, kernel[0] * kernel[1])
    columns = axis(1)[None, :, None, :].expand(*size, *kernel).reshape(rows.shape)
    y, x_ = rows + points[0], columns + points[1]  # (Ho Wo, G, taps)
    undefined = y.isnan() | x_.isnan()
    valid = (y > -1) & (y < height) & (x_ > -1) & (x_ < width)
    # A point outside is moved inside, so that indices stay small, and gets weight 0 below.
    y, x_ = torch.where(valid, y, 0), torch.where(valid, x_, 0)
    top, left = y.floor(), x_.floor()
    index, inside = [], []
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        within = valid & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        group = torch.arange(deform_groups, device=x.device)[:, None]
        place = (row.long() * width + column.long()) * deform_groups + group
        index.append(torch.where(within, place, height * width * deform_groups))
        # NaN must not pass for a point outside.
        inside.append(torch.where(undefined, torch.nan, within.to(y.dtype)))
    if mask is None:
        modulation = torch.ones_like(y)
    else:
        modulation = mask[n].reshape(deform_groups, -1, y.shape[0]).permute(2, 0, 1)
    return _Reading(torch.stack(index), torch.stack(inside), y - top, x_ - left, modulation)


def _table(image: Tensor, reading: _Reading) -> Tensor:
    """Rearrange (C, H, W) to rows of channels that share offsets, and add a row of zeros.

    Returns:
        Shape (H W G + 1, C / G).
    """
    groups = reading.mask.shape[1]
    rows = image.reshape(groups, -1, image[0].numel()).permute(2, 0, 1).flatten(0, 1)
    return F.pad(rows, (0, 0, 0, 1))


def _read(image: Tensor, reading: _Reading, groups: int) -> Tensor:
    """Return the numbers that the kernel reads. Shape (groups, Ho Wo, taps C / groups)."""
    table = _table(image, reading)
    weights = reading.bilinear() * reading.mask
    total = F.embedding_bag(
        reading.index.flatten(1).T.contiguous(), table, mode="sum",
        per_sample_weights=weights.flatten(1).T.contiguous(),
    )  # fmt: skip
    pixels, deform_groups, taps = reading.mask.shape
    by_pixel = total.view(pixels, deform_groups, taps, -1)  # (Ho Wo, G, taps, C / G)
    by_pixel = by_pixel.transpose(1, 2)
    return by_pixel.reshape(pixels, taps, groups, -1).permute(2, 0, 1, 3).flatten(2)


def _by_deform_group(columns: Tensor, channels: int, reading: _Reading) -> Tensor:
    """Rearrange (groups, Ho Wo, taps C / groups) to (Ho Wo G taps, C / G)."""
    pixels, deform_groups, taps = reading.mask.shape
    by_pixel = columns.unflatten(2, (taps, -1)).permute(1, 2, 0, 3)
    by_pixel = by_pixel.reshape(pixels, taps, deform_groups, channels // deform_groups)
    return by_pixel.transpose(1, 2).flatten(0, 2)


def _spread(columns: Tensor, reading: _Reading, size: torch.Size) -> Tensor:
    """Return the gradient of the image. Shape (C, H, W)."""
    groups = reading.mask.shape[1]
    table = columns.new_zeros(size[0] * size[1] * groups + 1, columns.shape[1])
    weights = reading.bilinear() * reading.mask
    for index, weight in zip(reading.index, weights, strict=True):
        table.index_add_(0, index.flatten(), columns * weight.reshape(-1, 1))
    return table[:-1].view(size[0] * size[1], -1).T.reshape(-1, *size)


def _differentiate_points(columns: Tensor, table: Tensor, r: _Reading) -> tuple[Tensor, ...]:
    """Return the gradients of the points' rows and columns and of the modulation.

    Each has shape (Ho Wo, G, taps).
    """
    dots = [
        (columns * table[index.flatten()]).sum(1).view(r.mask.shape) * inside
        for index, inside in zip(r.index, r.inside, strict=True)
    ]
    up, back = 1 - r.down, 1 - r.right
    down = r.mask * (back * (dots[2] - dots[0]) + r.right * (dots[3] - dots[1]))
    right = r.mask * (up * (dots[1] - dots[0]) + r.down * (dots[3] - dots[2]))
    modulation = up * (back * dots[0] + r.right * dots[1])
    return down, right, modulation + r.down * (back * dots[2] + r.right * dots[3])
