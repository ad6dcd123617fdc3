"""Multi-scale deformable attention; mmcv's autograd function calls this on accelerators."""

from __future__ import annotations

import torch
from torch import Tensor

from mmattn.ops import multi_scale_deformable_attention

from ._precision import working

__all__ = ["ms_deform_attn_backward", "ms_deform_attn_forward"]


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """The attended values, (N, Q, heads * C); see ``mmattn.ops.multi_scale_deformable_attention``.

    ``im2col_step``, the images per kernel launch of mmcv, changes nothing.
    """
    return multi_scale_deformable_attention(
        value,
        value_spatial_shapes.tolist(),
        sampling_locations,
        attention_weights,
        value_level_start_index.tolist(),
    )


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Fill the three gradients, shaped like ``value``, the locations and the weights."""
    grads = torch.ops.mmattn.multi_scale_deformable_attention_backward(
        grad_output,
        value,
        working(sampling_locations),
        working(attention_weights),
        value_spatial_shapes.flatten().tolist(),
        value_level_start_index.tolist(),
        True,
        True,
        True,
    )
    for target, grad in zip((grad_value, grad_sampling_loc, grad_attn_weight), grads, strict=True):
        target.copy_(grad)
