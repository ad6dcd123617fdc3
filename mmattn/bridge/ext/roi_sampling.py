"""The sampling points of RoI pooling and the reading of features at them.

Rules of RoIAlign (He et al., Mask R-CNN, ICCV 2017) as mmcv and torchvision implement them: a RoI
is cut into bins, a bin holds a grid of points, and features are read bilinearly. Points up to one
pixel outside read the border, those further away read 0.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

# Numbers read per pass: bounds the memory of large RoIs (256 MiB in float32).
_READS_PER_PASS = 2**26


def roi_bins(
    rois: Tensor,
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    *,
    shift: float,
    min_size: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Geometry of the bins.

    Args:
        rois: (K, 5) as image index, x1, y1, x2, y2.
        output_size: Bins per RoI, (rows, columns).
        spatial_scale: Feature pixels per unit of ``rois``.
        sampling_ratio: Points per bin and direction; 0 takes about one per feature pixel.
        shift: What is subtracted from the scaled corners (0.5 puts pixel centres at integers).
        min_size: Smallest width and height of a RoI in feature pixels.

    Returns:
        start (K, 2), bin size (K, 2), points per bin (K, 2), each as (y, x).
    """
    corners = rois[:, 1:] * spatial_scale - shift
    start = corners[:, [1, 0]]
    size = corners[:, [3, 2]] - start
    if min_size is not None:
        size = size.clamp(min=min_size)
    bin_size = size / size.new_tensor(output_size)
    if sampling_ratio > 0:
        count = torch.full_like(bin_size, sampling_ratio)
    else:
        count = bin_size.ceil().clamp(min=0)
    return start, bin_size, count


def bin_points(
    start: Tensor, bin_size: Tensor, count: Tensor, bins: int, axis: int
) -> tuple[Tensor, Tensor]:
    """Points of all bins along one axis.

    Returns:
        position (K, bins, P) and whether the point exists (K, 1, P); P is the largest count.
    """
    start, bin_size, count = (t[:, axis, None] for t in (start, bin_size, count))
    largest = int(count.max()) if len(count) else 0
    point = torch.arange(largest, dtype=bin_size.dtype, device=bin_size.device)
    bin_index = torch.arange(bins, dtype=bin_size.dtype, device=bin_size.device)
    # In the order in which mmcv and torchvision round: a point on the border stays on its side.
    within = (point + 0.5) * bin_size / count.clamp(min=1)  # (K, P)
    position = (start + bin_index * bin_size)[..., None] + within[:, None]
    return position, (point < count)[:, None]


def sum_bilinear(
    features: Tensor, image: Tensor, y: Tensor, x: Tensor, exists: Tensor | None = None
) -> Tensor:
    """Sums of features over lists of points, differentiable in ``features``, ``y`` and ``x``.

    Args:
        features: (N, C, H, W).
        image: (K,), whose features each RoI reads.
        y: (K, ..., P), rows of P points.
        x: As ``y``, columns.
        exists: As ``y``: which points count; all by default.

    Returns:
        (K, ..., C)
    """
    channels, height, width = features.shape[1:]
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    if exists is not None:
        inside = inside & exists
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.detach().floor(), x.detach().floor()
    down, right = y - top, x - left
    weights = torch.stack(
        ((1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right), dim=-1
    )
    first = (image * height).view(-1, *[1] * (y.dim() - 1))
    top, left = top.long(), left.long()
    upper, lower = (first + top) * width, (first + (top + 1).clamp(max=height - 1)) * width
    after = (left + 1).clamp(max=width - 1)
    pixels = torch.stack((upper + left, upper + after, lower + left, lower + after), dim=-1)
    # Contiguous, since a single image's rows would be a view whose pixels are read with strides.
    rows = features.permute(0, 2, 3, 1).contiguous().view(-1, channels)
    # A bag holds the four corners of its P points: nothing of size P * C is ever stored.
    bags = (y.shape[:-1].numel(), y.size(-1) * 4)
    sums = F.embedding_bag(
        pixels.reshape(bags),
        rows,
        mode="sum",
        per_sample_weights=(weights * inside.unsqueeze(-1)).reshape(bags),
    )
    return sums.view(*y.shape[:-1], channels)


def passes(count: Tensor, reads: Tensor) -> Iterator[slice]:
    """Slices of consecutive RoIs that together read a bounded amount.

    Args:
        count: (K, 2), points per bin; a slice is padded to its largest.
        reads: Numbers read per point of a bin and RoI (channels times bins).
    """
    begin, largest = 0, [0, 0]
    for index, (rows, columns) in enumerate(count.tolist()):
        larger = [max(largest[0], rows), max(largest[1], columns)]
        cost = (index + 1 - begin) * larger[0] * larger[1] * reads
        if cost > _READS_PER_PASS and index > begin:
            yield slice(begin, index)
            begin, larger = index, [rows, columns]
        largest = larger
    if begin < len(count):
        yield slice(begin, len(count))
