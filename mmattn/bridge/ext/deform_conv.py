"""Deformable convolution, versions 1 (without) and 2 (with modulation), by our operator.

Offsets come as (y, x) per kernel position and group of channels, in mmcv as in mmattn.ops.
``columns``, ``ones`` and ``im2col_step`` are scratch space and a launch size of mmcv's kernels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

import mmattn.ops  # noqa: F401  (registers torch.ops.mmattn)

from ._precision import working

__all__ = [
    "deform_conv_backward_input",
    "deform_conv_backward_parameters",
    "deform_conv_forward",
    "modulated_deform_conv_backward",
    "modulated_deform_conv_forward",
]


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Fill ``output`` (N, O, H', W'); shapes as in ``mmattn.ops.modulated_deform_conv2d``."""
    wanted = (len(input), 2 * deformable_group * kH * kW, *output.shape[2:])
    if offset.shape != wanted:
        raise ValueError(
            f"deform_conv: offset must have shape {wanted} for the output {tuple(output.shape)}, "
            f"got {tuple(offset.shape)}"
        )
    geometry = ((dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group)
    _convolve(input, weight, offset, None, None, output, geometry)


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradInput: Tensor,
    gradOffset: Tensor,
    weight: Tensor,
    columns: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Add the gradients with respect to input and offset."""
    geometry = ((dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group)
    grads = _gradients(
        input, weight, offset, None, gradOutput, geometry, parameters=False, bias=False
    )
    if grads is not None:
        gradInput += grads[0]
        gradOffset += grads[1]


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradWeight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Add ``scale`` times the gradient with respect to the weight."""
    geometry = ((dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group)
    # The weight's numbers do not enter its own gradient: its shape alone is asked for.
    grads = _gradients(
        input, gradWeight, offset, None, gradOutput, geometry, inputs=False, bias=False
    )
    if grads is not None:
        gradWeight += scale * grads[3]


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Fill ``output`` (N, O, H', W'); shapes as in ``mmattn.ops.modulated_deform_conv2d``.

    Offset and mask may be larger than the output: mmcv's kernels then take the beginning of each
    image's numbers as if they had the output's size. mmdet's DyHead relies on it (its upper level
    is convolved with the offsets of the level below), and its weights were trained that way.
    """
    offset = _beginning(offset, 2 * deformable_group * kernel_h * kernel_w, output)
    mask = _beginning(mask, deformable_group * kernel_h * kernel_w, output)
    stride, padding, dilation = (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w)
    geometry = (stride, padding, dilation, group, deformable_group)
    _convolve(input, weight, offset, mask, bias if with_bias else None, output, geometry)


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Add all five gradients; ``grad_bias`` is left alone without bias."""
    offset = _beginning(offset, 2 * deformable_group * kernel_h * kernel_w, grad_output)
    mask = _beginning(mask, deformable_group * kernel_h * kernel_w, grad_output)
    stride, padding, dilation = (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w)
    geometry = (stride, padding, dilation, group, deformable_group)
    grads = _gradients(input, weight, offset, mask, grad_output, geometry, bias=with_bias)
    if grads is None:
        return
    targets = (grad_input, grad_offset, grad_mask, grad_weight, grad_bias)
    for target, grad in zip(targets[: 4 + with_bias], grads, strict=False):
        if target.numel() > grad.numel():  # of offset and mask: the rest was not read
            grad = F.pad(grad.flatten(1), (0, target[0].numel() - grad[0].numel()))
        target += grad.view_as(target)


def _beginning(tensor: Tensor, channels: int, output: Tensor) -> Tensor:
    """The first numbers of each image of ``tensor``, as (N, channels, H', W')."""
    size = (channels, *output.shape[2:])
    if tensor.shape[1:] == size:
        return tensor
    needed = math.prod(size)
    if tensor.shape[1:].numel() < needed:
        raise ValueError(
            f"modulated_deform_conv: an offset or mask of shape {tuple(tensor.shape)} is too small "
            f"for the output {tuple(output.shape)}, which needs {size} per image"
        )
    return tensor.flatten(1)[:, :needed].reshape(len(tensor), *size)


def _convolve(input, weight, offset, mask, bias, output: Tensor, geometry: tuple) -> None:
    if output.numel() == 0:
        return
    tensors = (None if t is None else working(t) for t in (input, offset, mask, weight, bias))
    output.copy_(
        torch.ops.mmattn.modulated_deform_conv2d(*tensors, *geometry, _channels_last(input))
    )


def _gradients(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    grad_output: Tensor,
    geometry: tuple,
    *,
    inputs: bool = True,
    parameters: bool = True,
    bias: bool,
) -> tuple[Tensor, ...] | None:
    """Gradients of input, offset, mask, weight and bias; none for an empty batch."""
    if grad_output.numel() == 0:
        return None
    tensors = (
        None if t is None else working(t) for t in (grad_output, input, offset, mask, weight)
    )
    return torch.ops.mmattn.modulated_deform_conv2d_backward(
        *tensors, *geometry, _channels_last(input), inputs, inputs, parameters, bias
    )


def _channels_last(input: Tensor) -> bool:
    return input.is_contiguous(memory_format=torch.channels_last) and not input.is_contiguous()
