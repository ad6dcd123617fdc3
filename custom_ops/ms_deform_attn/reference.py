"""Multi-scale deformable attention in plain torch (Zhu et al., arXiv:2010.04159, equation 3).

Each query reads a few points per level of a feature pyramid and sums what it reads:
    y[q, h] = sum_{l, k} A[q, h, l, k] v[l, h](p[q, h, l, k])
with v read bilinearly and 0 outside the map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Sequence[Sequence[int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
    level_start_index: Sequence[int] | None = None,
) -> Tensor:
    """Attend to sampled points; O(queries · points · channels), independent of the maps' size.

    Args:
        value: (N, S, heads, C), the flattened maps of all levels one after the other.
        spatial_shapes: (height, width) of each level.
        sampling_locations: (N, Q, heads, levels, points, 2) as (x, y); 0 and 1 are the map's
            edges, so that a pixel's centre lies at ``(index + 0.5) / size``.
        attention_weights: (N, Q, heads, levels, points), normally softmax over levels and points.
        level_start_index: where each level begins in ``value``; by default they follow closely.

    Returns:
        (N, Q, heads * C)
    """
    batch, _, heads, channels = value.shape
    queries = sampling_locations.size(1)
    output = value.new_zeros(batch * heads, channels, queries)
    if output.numel() == 0:
        return output.view(batch, queries, heads * channels)
    grids = 2 * sampling_locations - 1
    start = 0
    for level, (height, width) in enumerate(spatial_shapes):
        if level_start_index is not None:
            start = level_start_index[level]
        feature = value[:, start : start + height * width].permute(0, 2, 3, 1)
        feature = feature.reshape(batch * heads, channels, height, width)
        start += height * width
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)  # (N heads, Q, points, 2)
        read = F.grid_sample(feature, grid, align_corners=False)  # (N heads, C, Q, points)
        weight = attention_weights[:, :, :, level].transpose(1, 2).flatten(0, 1)
        output = output + (read * weight.unsqueeze(1)).sum(dim=-1)
    return output.view(batch, heads * channels, queries).transpose(1, 2)
