"""Neighborhood attention in plain torch: the oracle, the path that exports, and the fallback.

Keys and values of each position are copied out by the index maps of the definition, one for each
axis: k^2 times the memory of keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._derivatives import differentiate
from .._precision import accumulate_dtype, autocast_off


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    kernel: Sequence[int],
    dilation: Sequence[int],
    scale: float,
) -> Tensor:
    """Return the output (N, H, W, heads, d); see ``mmattn.ops.neighborhood_attention_2d``."""
    dtype = accumulate_dtype(query.dtype)
    y, by, in_y = neighbours(query.shape[1], kernel[0], dilation[0], query.device)
    x, bx, in_x = neighbours(query.shape[2], kernel[1], dilation[1], query.device)
    with autocast_off(query.device.type):
        q, k, v = (t.to(dtype) for t in (query, key, value))
        k, v = k[:, y][:, :, :, x], v[:, y][:, :, :, x]  # (N, H, ky, W, kx, heads, d)
        logits = torch.einsum("nyxhd,nyaxbhd->nhyxab", scale * q, k)
        if bias is not None:
            logits = logits + bias.to(dtype)[:, by][:, :, :, bx].transpose(2, 3)
        inside = in_y[:, None, :, None] & in_x[None, :, None, :]
        logits = logits.masked_fill(~inside, -torch.inf)
        weights = logits.flatten(-2).softmax(-1).unflatten(-1, logits.shape[-2:])
        out = torch.einsum("nhyxab,nyaxbhd->nyxhd", weights, v)
    return out.to(query.dtype).contiguous()


def backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    kernel: Sequence[int],
    dilation: Sequence[int],
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of query, key, value and bias, the last of size 0 without a bias."""

    def function(*tensors: Tensor | None) -> Tensor:
        return forward(*tensors, kernel, dilation, scale)  # pyright: ignore[reportCallIssue]

    grads = differentiate(function, [query, key, value, bias], [grad])
    *of_maps, of_bias = (query.new_zeros(0) if g is None else g.contiguous() for g in grads)
    return of_maps[0], of_maps[1], of_maps[2], of_bias


def neighbours(
    length: int, kernel: int, dilation: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the keys of each position of an axis, the entries of their bias, and which exist.

    Position i is member p = i div e of the residue class g = i mod e, which has n members. It
    sees the k members from s = clamp(p - (k - 1) / 2, 0, n - k) on, at e (s + a) + g, and their
    bias is entry s + a - p + k - 1. A class of fewer than k members is seen as a whole.

    Returns:
        Three tensors of shape (length, kernel). Where a key does not exist, the position itself
        stands in its place.
    """
    position = torch.arange(length, device=device)
    residue, p = position % dilation, position // dilation
    members = (length - 1 - residue) // dilation + 1
    first = torch.minimum((p - kernel // 2).clamp_min(0), (members - kernel).clamp_min(0))
    member = first[:, None] + torch.arange(kernel, device=device)
    exists = member < members[:, None]
    keys = torch.where(exists, dilation * member + residue[:, None], position[:, None])
    return keys, member - p[:, None] + kernel - 1, exists
