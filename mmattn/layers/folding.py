"""Exact folds of constant affine maps into convolutions, for inference.

In eval mode a batch norm is x -> a x + b per channel, and

    a (W x + c) + b = (a W) x + (a c + b)                  after a convolution
    W (a x + b) + c = (W a) x + (W b + c)                  before one, if nothing is padded

Folded numbers are computed in float64 and rounded once.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

# Of a convolution, besides the number of its output channels.
_GEOMETRY = (
    "in_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "padding_mode",
)


class Affine(NamedTuple):
    """x -> scale x + shift, per channel; both (C,) float64."""

    scale: Tensor
    shift: Tensor


def affine_of(norm: nn.Module) -> Affine:
    """Return the affine map that a batch norm computes in eval mode.

    Raises:
        ValueError: The norm has no running statistics, so that it differs for every batch.
    """
    if (
        not isinstance(norm, nn.modules.batchnorm._BatchNorm)
        or norm.running_mean is None
        or norm.running_var is None
    ):
        raise ValueError(f"only a batch norm with running statistics is affine, got {norm}")
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = norm.weight.detach().double() * scale
    shift = -norm.running_mean.double() * scale
    if norm.affine:
        shift = shift + norm.bias.detach().double()
    return Affine(scale, shift)


def fold_after(conv: nn.Conv2d, affine: Affine) -> nn.Conv2d:
    """Fold ``affine`` into the convolution before it; the result has a bias.

    Args:
        conv: Any convolution; it is not changed.
        affine: Affine map of its output channels.
    """
    weight = conv.weight.detach().double() * affine.scale[:, None, None, None]
    return _with(conv, weight, affine.scale * _bias(conv) + affine.shift)


def fold_before(affine: Affine, conv: nn.Conv2d) -> nn.Conv2d:
    """Fold ``affine`` into the convolution after it; the result has a bias.

    Args:
        affine: Affine map of the input channels.
        conv: 1x1 convolution without padding or groups; it is not changed.

    Raises:
        ValueError: ``conv`` is another one: padded zeros do not pass ``affine``.
    """
    if conv.kernel_size != (1, 1) or conv.groups != 1 or any(conv.padding):
        raise ValueError(f"an affine map folds only into a 1x1 convolution after it, got {conv}")
    weight = conv.weight.detach().double()
    shift = (weight * affine.shift[None, :, None, None]).sum((1, 2, 3))
    return _with(conv, weight * affine.scale[None, :, None, None], shift + _bias(conv))


def concatenate(convs: Sequence[nn.Conv2d]) -> nn.Conv2d:
    """Make one convolution of several that read the same input; the result has a bias.

    Args:
        convs: Convolutions that differ in their output channels alone, without groups; they are not
            changed.

    Returns:
        A convolution whose output is theirs, one after another along the channels.

    Raises:
        ValueError: They differ in more, or have groups.
    """
    first = convs[0]
    for conv in convs:
        same = all(getattr(conv, name) == getattr(first, name) for name in _GEOMETRY)
        if not same or conv.groups != 1:
            raise ValueError(
                f"one convolution cannot do what these do: {first} and {conv}; they must have no "
                "groups and differ in their output channels alone"
            )
    merged = _with(
        first,
        torch.cat([conv.weight.detach() for conv in convs]),
        torch.cat([_bias(conv) for conv in convs]),
    )
    merged.out_channels = merged.weight.shape[0]
    return merged


def _bias(conv: nn.Conv2d) -> Tensor:
    if conv.bias is None:
        return conv.weight.new_zeros(conv.out_channels, dtype=torch.float64)
    return conv.bias.detach().double()


def _with(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """Copy ``conv`` with these weights, which are not trained."""
    folded = copy.deepcopy(conv)
    dtype = conv.weight.dtype
    folded.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    folded.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
    return folded
