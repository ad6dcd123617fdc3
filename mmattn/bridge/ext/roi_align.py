"""RoIAlign (He et al., Mask R-CNN, ICCV 2017), average or maximum of each bin's points."""

from __future__ import annotations

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

from ._precision import working
from .roi_sampling import bin_points, passes, roi_bins, sum_bilinear

__all__ = ["roi_align_backward", "roi_align_forward"]

_MAX = 0


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill ``output`` (K, C, aligned_height, aligned_width) from ``input`` (N, C, H, W).

    Args:
        rois: (K, 5) as image index, x1, y1, x2, y2.
        argmax_y: Like ``output`` when ``pool_mode`` is 0: the row of each maximum, -1 where a RoI
            has no point at all (its output is then 0, not mmcv's lowest float). The caller chose
            the type: half precisions round the place that the gradient goes to.
        argmax_x: As ``argmax_y``, columns.
        pool_mode: 0 maximum, 1 average.
        aligned: Pixel centres lie at half-integers; otherwise the behaviour before mmcv 1.0.
    """
    features, rois = working(input), working(rois).to(working(input).dtype)
    size = (aligned_height, aligned_width)
    if pool_mode != _MAX:
        output.copy_(
            torch.ops.torchvision.roi_align(
                features, rois, spatial_scale, *size, sampling_ratio, aligned
            )
        )
        return
    geometry = {"shift": 0.5, "min_size": None} if aligned else {"shift": 0.0, "min_size": 1.0}
    start, bin_size, count = roi_bins(rois, size, spatial_scale, sampling_ratio, **geometry)
    channels = input.size(1)
    for part in passes(count, channels * aligned_height * aligned_width):
        bins = (start[part], bin_size[part], count[part])
        y, has_y = bin_points(*bins, aligned_height, axis=0)
        x, has_x = bin_points(*bins, aligned_width, axis=1)
        # (K, rows, columns, points down, points across), then all points of a bin together
        y, x = torch.broadcast_tensors(y[:, :, None, :, None], x[:, None, :, None, :])
        exists = (has_y[:, :, None, :, None] & has_x[:, None, :, None, :]).expand_as(y)
        y, x, exists = y.flatten(3), x.flatten(3), exists.flatten(3)
        if y.size(3) == 0:
            output[part], argmax_y[part], argmax_x[part] = 0, -1, -1
            continue
        image = rois[part, 0].long()
        values = sum_bilinear(features, image, y.unsqueeze(-1), x.unsqueeze(-1))
        values = values.masked_fill(~exists.unsqueeze(-1), -torch.inf)
        best, where = values.max(dim=3)  # (K, rows, columns, C)
        nothing = ~exists.any(dim=3, keepdim=True)
        output[part] = best.masked_fill(nothing, 0).permute(0, 3, 1, 2).to(output.dtype)
        for target, position in ((argmax_y, y), (argmax_x, x)):
            chosen = position.gather(3, where).masked_fill(nothing, -1)
            target[part] = chosen.permute(0, 3, 1, 2).to(target.dtype)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Add to ``grad_input`` (N, C, H, W) the gradient of ``roi_align_forward``.

    Maxima that were read exactly at row -1 get theirs too; mmcv's kernels take -1 for "none" there.
    """
    grad, rois = working(grad_output), working(rois).to(working(grad_output).dtype)
    if pool_mode != _MAX:
        grad_input += torch.ops.torchvision._roi_align_backward(
            grad,
            rois,
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
        return
    _scatter_to_maxima(grad, rois[:, 0].long(), working(argmax_y), working(argmax_x), grad_input)


def _scatter_to_maxima(grad: Tensor, image: Tensor, y: Tensor, x: Tensor, grad_input: Tensor):
    """Spread each bin's gradient over the four pixels its maximum was read from."""
    images, channels, height, width = grad_input.shape
    found = ~((y == -1) & (x == -1))
    found &= (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    down, right = y - y.floor(), x - x.floor()
    top, left = y.long(), x.long()
    bottom, after = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    plane = image[:, None] * channels + torch.arange(channels, device=image.device)
    plane = plane[:, :, None, None] * height  # (K, C, 1, 1)
    total = grad.new_zeros(images * channels * height * width)
    for row, column, weight in (
        (top, left, (1 - down) * (1 - right)),
        (top, after, (1 - down) * right),
        (bottom, left, down * (1 - right)),
        (bottom, after, down * right),
    ):
        pixel = (plane + row) * width + column
        total.index_add_(0, pixel.flatten(), (grad * weight * found).flatten())
    grad_input += total.view_as(grad_input)
