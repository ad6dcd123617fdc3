"""RoIPool (Girshick, Fast R-CNN, ICCV 2015): the maximum over the pixels of each bin."""

from __future__ import annotations

import torch
from torch import Tensor

from ._precision import working
from .roi_sampling import passes

__all__ = ["roi_pool_backward", "roi_pool_forward"]


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Fill ``output`` (K, C, pooled_height, pooled_width) from ``input`` (N, C, H, W).

    Unlike in torchvision's, ``x2`` and ``y2`` are inclusive (``x2 + 1`` is the end), and
    coordinates are not rounded to feature pixels. A bin without pixels gives 0.

    Args:
        rois: (K, 5) as image index, x1, y1, x2, y2.
        argmax: int32, like ``output``: the maximum's place ``y * W + x``, -1 without pixels.
    """
    features, rois = working(input), working(rois).to(working(input).dtype)
    channels, height, width = input.shape[1:]
    rows = features.permute(0, 2, 3, 1).contiguous().view(-1, channels)
    start = rois[:, [2, 1]] * spatial_scale
    size = (rois[:, [4, 3]] + 1) * spatial_scale - start
    first_y, end_y = _pixel_range(start[:, 0], size[:, 0], pooled_height, height)
    first_x, end_x = _pixel_range(start[:, 1], size[:, 1], pooled_width, width)
    degenerate = (size <= 0).any(dim=1)[:, None, None, None]
    extent = torch.stack(
        ((end_y - first_y).amax(dim=1).clamp(min=0), (end_x - first_x).amax(dim=1).clamp(min=0)),
        dim=1,
    )
    for part in passes(extent, channels * pooled_height * pooled_width):
        y, has_y = _pixels(first_y[part], end_y[part])
        x, has_x = _pixels(first_x[part], end_x[part])
        # (K, rows, columns, pixels down, pixels across), then all pixels of a bin together
        place = (y[:, :, None, :, None] * width + x[:, None, :, None, :]).flatten(3)
        exists = (has_y[:, :, None, :, None] & has_x[:, None, :, None, :]).flatten(3)
        exists = exists & ~degenerate[part]
        if place.size(3) == 0:
            output[part], argmax[part] = 0, -1
            continue
        image = rois[part, 0].long()[:, None, None, None]
        values = rows[image * (height * width) + place.clamp(max=height * width - 1)]
        values = values.masked_fill(~exists.unsqueeze(-1), -torch.inf)
        best, where = values.max(dim=3)  # (K, rows, columns, C)
        nothing = ~exists.any(dim=3, keepdim=True)
        output[part] = best.masked_fill(nothing, 0).permute(0, 3, 1, 2).to(output.dtype)
        chosen = place.gather(3, where).masked_fill(nothing, -1)
        argmax[part] = chosen.permute(0, 3, 1, 2).to(argmax.dtype)


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add to ``grad_input`` (N, C, H, W) the gradient of ``roi_pool_forward``."""
    grad = working(grad_output)
    images, channels, height, width = grad_input.shape
    channel = torch.arange(channels, device=rois.device)
    plane = (rois[:, :1].long() * channels + channel)[:, :, None, None]
    place = plane * (height * width) + argmax.clamp(min=0)
    total = grad.new_zeros(images * channels * height * width)
    total.index_add_(0, place.flatten(), (grad * (argmax >= 0)).flatten())
    grad_input += total.view_as(grad_input)


def _pixel_range(start: Tensor, size: Tensor, bins: int, limit: int) -> tuple[Tensor, Tensor]:
    """First pixel and the one after the last of each bin, (K, bins) each, clipped to the map."""
    edge = torch.arange(bins + 1, dtype=start.dtype, device=start.device)
    edges = edge * (size / bins)[:, None] + start[:, None]
    first, end = edges[:, :-1].floor(), edges[:, 1:].ceil()
    return first.clamp(0, limit).long(), end.clamp(0, limit).long()


def _pixels(first: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels of each bin, padded to the longest, and whether each exists: (K, bins, P) each."""
    longest = int((end - first).max().clamp(min=0))
    pixel = first[..., None] + torch.arange(longest, device=first.device)
    return pixel, pixel < end[..., None]
