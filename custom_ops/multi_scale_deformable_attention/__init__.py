"""Multi-scale deformable attention (Zhu et al., Deformable DETR, ICLR 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._operator import is_exporting
from .._precision import accumulate_dtype, autocast_off
from .checks import check_tensors, resolve_levels
from .export import export_deform_attention_as as export_deform_attention_as
from .export import exported
from .op import operator as operator


def multi_scale_deformable_attention(
    value: Tensor,
    spatial_shapes: Sequence[Sequence[int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
    level_start_index: Sequence[int] | None = None,
) -> Tensor:
    """Let each query read a few points of every level of a pyramid, and sum them with weights.

        y[b, q, m] = sum_lp attention_weights[b, q, m, l, p] value_l[b, m](locations[b, q, m, l, p])

    This is equation 3 of arXiv:2010.04159 between its two projections: feature maps are read
    bilinearly and are 0 beyond their edges. In plain torch, for one level and one head of
    ``feature`` (B, D, H, W):

        read = F.grid_sample(feature, 2 * locations - 1, align_corners=False)  # (B, D, Q, P)
        y = (read * weights[:, None]).sum(-1)

    Time grows with B Q M L P D and not with the size of the feature maps. The backward pass keeps
    the inputs and nothing else.

    The result has the precision of ``value``; half precisions are summed in float32 and rounded
    once. Coordinates and weights are always computed in float32 at least: rounded to bfloat16, a
    coordinate would be wrong by a third of a pixel in a feature map 167 wide. Exported graphs hold
    standard operators; see ``export_deform_attention_as``.

    Args:
        value: Flattened feature maps of all levels, one after the other. Shape (B, N, M, D) for M
            heads of D channels.
        spatial_shapes: Height and width of each of the L levels, as whole numbers: a tensor would
            break graphs, and make the host wait for a GPU.
        sampling_locations: Points to read, as (x, y); 0 and 1 are the edges of the feature map, so
            the centre of a pixel lies at (index + 0.5) / size. Shape (B, Q, M, L, P, 2).
        attention_weights: Weight of each point, usually a softmax over L and P. Shape
            (B, Q, M, L, P).
        level_start_index: First pixel of each level in ``value``; by default each level follows
            the one before.

    Returns:
        Weighted sums, in the dtype of ``value``. Shape (B, Q, M D).

    Raises:
        TypeError: A tensor is not floating point, or a size is not a whole number.
        ValueError: Shapes, devices or levels do not fit.

    Example:
        >>> value = torch.zeros(1, 4 * 6 + 2 * 3, 8, 32)
        >>> locations, weights = torch.rand(1, 5, 8, 2, 4, 2), torch.rand(1, 5, 8, 2, 4)
        >>> shapes = [(4, 6), (2, 3)]
        >>> multi_scale_deformable_attention(value, shapes, locations, weights).shape
        torch.Size([1, 5, 256])
    """
    check_tensors(value, sampling_locations, attention_weights)
    shapes, starts = resolve_levels(
        value.shape[1], attention_weights.shape[3], spatial_shapes, level_start_index
    )
    dtype = accumulate_dtype(value.dtype)
    with autocast_off(value.device.type):
        locations, weights = sampling_locations.to(dtype), attention_weights.to(dtype)
        if is_exporting():
            return exported(value, locations, weights, shapes, starts)
        return torch.ops.mmattn.multi_scale_deformable_attention(
            value, locations, weights, shapes, starts
        )
