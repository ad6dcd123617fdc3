"""Deformable RoI pooling (Dai et al., Deformable ConvNets, ICCV 2017, equation 6)."""

from __future__ import annotations

import torch
from torch import Tensor

from ._precision import working
from .roi_sampling import bin_points, passes, roi_bins, sum_bilinear

__all__ = ["deform_roi_pool_backward", "deform_roi_pool_forward"]


def deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Fill ``output`` (K, C, pooled_height, pooled_width): RoIAlign's average over moved bins.

    Args:
        input: (N, C, H, W).
        rois: (K, 5) as image index, x1, y1, x2, y2.
        offset: (K, 2, pooled_height, pooled_width), each bin's displacement as (x, y) in units of
            ``gamma`` times the RoI's size; empty for none.
    """
    features, rois, offset = _prepare(input, rois, offset)
    scalars = (spatial_scale, sampling_ratio, gamma)
    for part in _parts(features, rois, output.shape[2:], scalars):
        moved = None if offset is None else offset[part]
        pooled = _pool(features, rois[part], moved, output.shape[2:], scalars)
        output[part] = pooled.to(output.dtype)


def deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Add the gradients of input and offset.

    They are the derivatives of the forward pass everywhere. mmcv's kernel differs for points less
    than a pixel outside the map: they read the border, whatever their displacement, yet it gives
    the displacement a gradient.
    """
    features, rois, offset = _prepare(input, rois, offset)
    scalars = (spatial_scale, sampling_ratio, gamma)
    for part in _parts(features, rois, grad_output.shape[2:], scalars):
        leaves = [features.detach().requires_grad_()]
        if offset is not None:
            leaves.append(offset[part].detach().requires_grad_())
        with torch.enable_grad():
            moved = None if offset is None else leaves[1]
            pooled = _pool(leaves[0], rois[part], moved, grad_output.shape[2:], scalars)
        grads = torch.autograd.grad(pooled, leaves, working(grad_output[part]))
        grad_input += grads[0]
        if offset is not None:
            grad_offset[part] += grads[1]


def _prepare(input: Tensor, rois: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    features = working(input)
    offset = offset.to(features.dtype) if offset.numel() else None
    return features, rois.to(features.dtype), offset


def _parts(features: Tensor, rois: Tensor, size: torch.Size, scalars: tuple):
    _, _, count = roi_bins(rois, tuple(size), *scalars[:2], shift=0.5)
    return passes(count, features.size(1) * size.numel())


def _pool(
    features: Tensor, rois: Tensor, offset: Tensor | None, size: torch.Size, scalars: tuple
) -> Tensor:
    """The pooled features of some RoIs, (K, C, rows, columns)."""
    spatial_scale, sampling_ratio, gamma = scalars
    start, bin_size, count = roi_bins(rois, tuple(size), spatial_scale, sampling_ratio, shift=0.5)
    y, has_y = bin_points(start, bin_size, count, size[0], axis=0)
    x, has_x = bin_points(start, bin_size, count, size[1], axis=1)
    y, x = y[:, :, None, :, None], x[:, None, :, None, :]  # rows, columns, down, across
    if offset is not None:
        reach = gamma * bin_size * bin_size.new_tensor(tuple(size))  # (K, 2) as (y, x)
        y = y + (offset[:, 1] * reach[:, 0, None, None])[..., None, None]
        x = x + (offset[:, 0] * reach[:, 1, None, None])[..., None, None]
    y, x = torch.broadcast_tensors(y, x)
    exists = (has_y[:, :, None, :, None] & has_x[:, None, :, None, :]).expand_as(y)
    y, x, exists = y.flatten(3), x.flatten(3), exists.flatten(3)
    sums = sum_bilinear(features, rois[:, 0].long(), y, x, exists)  # (K, rows, columns, C)
    points = count.prod(dim=1).clamp(min=1).view(-1, 1, 1, 1)
    return (sums / points).permute(0, 3, 1, 2)
