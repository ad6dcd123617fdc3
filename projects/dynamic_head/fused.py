"""Norms, gates, mean and dynamic ReLU as one pass over the maps of a level.

A norm is an affine map of each channel once its moments are known, and so is all that follows it
but the last maximum. Channel means of every step follow from those of the convolutions' outputs:

    z = sum_b s_b · up(x_b) + t,      y = max(a1 z + b1, a2 z + b2)

with s_b, t, a and b per image and channel. So one pass takes moments, and another writes y. In
between nothing of a map's size is kept: the backward pass computes z again from the x_b, which the
gradients of the moments need anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .high_mode import upsample


def spread_weights(size: tuple[int, int], to: tuple[int, int], like: Tensor) -> Tensor:
    """Return what each position of a map weighs in the mean of the upsampled map.

    Args:
        size: Height h and width w of the map.
        to: Height and width that ``upsample`` brings it to.
        like: Tensor of the wanted dtype and device.

    Returns:
        Weights of sum 1, (h, w).
    """
    ones = like.new_full((1, 1, *to), 1 / (to[0] * to[1]))
    return _upsample_backward(ones, size)[0, 0]


def _upsample_backward(grad: Tensor, size: tuple[int, int]) -> Tensor:
    if grad.shape[2:] == size:
        return grad
    shape = [*grad.shape[:2], *size]
    return torch.ops.aten.upsample_bilinear2d_backward(grad, list(grad.shape[2:]), shape, True)


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class ChannelMoments(torch.autograd.Function):
    """Mean, variance and weighted mean of every channel: (N, C, H, W) to three of (N, C).

    Without weights, (H, W), the third is the first.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        wide = _wide(x)
        mean = wide.mean((2, 3))
        # About the mean: a difference of squares would lose digits where means are large.
        variance = (wide - mean[..., None, None]).square_().mean((2, 3))
        weighted = mean.clone() if weights is None else (wide * weights).sum((2, 3))
        ctx.save_for_backward(x, mean, weights)
        return mean, variance, weighted

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_mean: Tensor, grad_variance: Tensor, grad_weighted: Tensor
    ) -> tuple[Tensor | None, None]:
        x, mean, weights = ctx.saved_tensors
        count = x.shape[2] * x.shape[3]
        slope = (2 / count) * grad_variance
        level = grad_mean / count - slope * mean
        if weights is None:
            level = level + grad_weighted / count
        grad = _wide(x) * slope[..., None, None]
        grad += level[..., None, None]
        if weights is not None:
            grad = grad.addcmul_(grad_weighted[..., None, None], weights)
        return grad.to(x.dtype), None


class DynamicMaximum(torch.autograd.Function):
    """max(a1 z + b1, a2 z + b2) with z = sum_b s_b · up(x_b) + t.

    Args of ``apply``: the numbers t, a1, b1, a2, b2, each (N, C); the factors s_b, each (N, C); the
    maps x_b, of which the first has the size of the result.
    """

    @staticmethod
    def forward(
        ctx: Any, t: Tensor, a1: Tensor, b1: Tensor, a2: Tensor, b2: Tensor, *rest: Tensor
    ) -> Tensor:
        count = len(rest) // 2
        scales, maps = rest[:count], rest[count:]
        z = _combined(t, scales, maps)
        upper = torch.addcmul(b1[..., None, None], z, a1[..., None, None])
        z = z.mul_(a2[..., None, None]).add_(b2[..., None, None])
        ctx.save_for_backward(t, a1, b1, a2, b2, *rest)
        return torch.maximum(upper, z, out=z).to(maps[0].dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        t, a1, b1, a2, b2, *rest = ctx.saved_tensors
        count = len(rest) // 2
        scales, maps = rest[:count], rest[count:]
        z = _combined(t, scales, maps)
        grad = _wide(grad)
        # 1 where the first line is higher, 0 where the second is, 1/2 where they meet.
        first = torch.addcmul((b1 - b2)[..., None, None], z, (a1 - a2)[..., None, None])
        first = first.sign_().add_(1).mul_(0.5).mul_(grad)
        grad_b1 = first.sum((2, 3))
        grad_b2 = grad.sum((2, 3)) - grad_b1
        grad_a1 = (first * z).sum((2, 3))
        grad_a2 = z.mul_(grad).sum((2, 3)) - grad_a1
        grad_z = grad * a2[..., None, None]
        grad_z = grad_z.addcmul_(first, (a1 - a2)[..., None, None])
        del z, first
        grad_scales, grad_maps = [], []
        for index, (scale, x) in enumerate(zip(scales, maps, strict=True)):
            at_size = _upsample_backward(grad_z, (x.shape[2], x.shape[3]))
            grad_scales.append((at_size * x).sum((2, 3)))
            free = at_size is not grad_z or index == count - 1
            scaled = at_size.mul_ if free else at_size.mul
            grad_maps.append(scaled(scale[..., None, None]).to(x.dtype))
        grad_t = grad_b1 * a1 + grad_b2 * a2
        return (grad_t, grad_a1, grad_b1, grad_a2, grad_b2, *grad_scales, *grad_maps)


def _combined(t: Tensor, scales: Sequence[Tensor], maps: Sequence[Tensor]) -> Tensor:
    """Return z, a tensor of its own."""
    size = (maps[0].shape[2], maps[0].shape[3])
    z = torch.addcmul(t[..., None, None], _wide(maps[0]), scales[0][..., None, None])
    for scale, x in zip(scales[1:], maps[1:], strict=True):
        wide = _wide(x)
        wide = wide if x.shape[2:] == size else upsample(wide, size)
        z = z.addcmul_(wide, scale[..., None, None])
    return z
