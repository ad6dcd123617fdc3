"""Multi-scale deformable attention; mmcv's module calls this on accelerators only."""

from __future__ import annotations

import torch
from torch import Tensor

from mmattn.ops.ms_deform_attn import ms_deform_attn

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
    """The attended values, (N, Q, heads * C); see ``mmattn.ops.ms_deform_attn``.

    ``im2col_step``, the images per kernel launch of mmcv, changes nothing.
    """
    output = ms_deform_attn(
        working(value),
        value_spatial_shapes.tolist(),
        working(sampling_locations),
        working(attention_weights),
        value_level_start_index.tolist(),
    )
    return output.to(value.dtype)


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
    inputs = [
        working(tensor).detach().requires_grad_()
        for tensor in (value, sampling_locations, attention_weights)
    ]
    with torch.enable_grad():
        output = ms_deform_attn(
            inputs[0],
            value_spatial_shapes.tolist(),
            *inputs[1:],
            value_level_start_index.tolist(),
        )
    if not output.requires_grad:  # no query, no image: nothing was read
        return
    grads = torch.autograd.grad(output, inputs, working(grad_output))
    for target, grad in zip((grad_value, grad_sampling_loc, grad_attn_weight), grads, strict=True):
        target.copy_(grad)
