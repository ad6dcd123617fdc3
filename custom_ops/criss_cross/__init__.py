"""Criss-cross attention (Huang et al., CCNet, ICCV 2019 and TPAMI 2020, arXiv:1811.11721)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import torch
from torch import Tensor

from .._operator import is_exporting
from .._precision import accumulate_dtype, autocast_off
from . import reference
from .checks import as_positions, check_attention
from .op import operator as operator


@overload
def criss_cross_attention(
    query: Tensor, key: Tensor, value: Tensor, *, return_lse: Literal[False] = False
) -> Tensor: ...
@overload
def criss_cross_attention(
    query: Tensor, key: Tensor, value: Tensor, *, return_lse: Literal[True]
) -> tuple[Tensor, Tensor]: ...
def criss_cross_attention(
    query: Tensor, key: Tensor, value: Tensor, *, return_lse: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Let every position attend to the H + W - 1 positions of its row and its column.

        A[u] = softmax_i(query[u] . key[i]),  i in row(u) + column(u)
        y[u] = sum_i A[u, i] value[i]

    Position u itself is counted once, one softmax is taken over row and column together, and the
    logits are not scaled by 1 / sqrt(D). With the pixels of an image as rows of matrices, and a
    mask that is 0 where two pixels share a row or a column and -inf elsewhere, this is

        y = softmax(query @ key.T + mask) @ value

    but takes O(HW (H + W)) operations instead of O((HW)^2). The backward pass keeps the inputs, the
    output and the log-sum-exp, and no attention weights.

    Logits and softmax are float32 for half-precision inputs and float64 for float64, also under
    autocast, since a half-precision logit overflows beyond 65504. Exported graphs hold standard
    matrix products.

    Args:
        query: Queries. Shape (N, D, H, W).
        key: Keys. Shape (N, D, H, W).
        value: Values. Shape (N, C, H, W). All three are best laid out channels-last; other layouts
            are copied.
        return_lse: Whether to return the log-sum-exp of the logits too. The weight of key i at
            position u is exp(query[u] . key[i] - lse[u]). It is differentiable.

    Returns:
        Weighted sums of the values, in the dtype of ``value``, channels-last in memory. Shape
        (N, C, H, W). With ``return_lse`` also the log-sum-exp, float32 or float64. Shape (N, H, W).

    Raises:
        TypeError: A tensor is not floating point, or the dtypes differ.
        ValueError: A tensor is not 4-D, the shapes do not agree, H or W is 0, or devices differ.

    Example:
        >>> q, k, v = torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4), torch.ones(1, 5, 3, 4)
        >>> criss_cross_attention(q, k, v).shape
        torch.Size([1, 5, 3, 4])
    """
    check_attention("criss_cross_attention", query, key, value)
    if is_exporting():
        out, lse = reference.forward(query, key, value)
    else:
        # Copied out here, so that the backward pass finds the copies and need not copy again.
        inputs = (t.contiguous(memory_format=torch.channels_last) for t in (query, key, value))
        out, lse = torch.ops.mmattn.criss_cross(*inputs)
    return (out, lse) if return_lse else out


def criss_cross_weights(
    query: Tensor, key: Tensor, positions: Tensor | Sequence[Sequence[int]]
) -> Tensor:
    """Return the attention weights of some positions over the whole feature map, to look at.

    Computes the weights of these positions alone, in O(H + W) each.

    Args:
        query: Queries. Shape (N, D, H, W).
        key: Keys. Shape (N, D, H, W).
        positions: Row and column of each position, whole numbers from 0. Shape (P, 2).

    Returns:
        Weights that are zero off the position's row and column and sum to 1, float32 or float64.
        Shape (N, P, H, W).

    Raises:
        TypeError: As ``criss_cross_attention``, or positions are not whole numbers.
        ValueError: As ``criss_cross_attention``, or a position lies outside the feature map.

    Example:
        >>> q = k = torch.zeros(1, 2, 3, 4)
        >>> round(criss_cross_weights(q, k, [(0, 1)])[0, 0, 2, 1].item(), 4)
        0.1667
    """
    check_attention("criss_cross_weights", query, key, query)
    size = query.shape[2:]
    y, x = as_positions("criss_cross_weights", positions, size).to(query.device).long().unbind(1)
    dtype = accumulate_dtype(query.dtype)
    with autocast_off(query.device.type):
        q, k = query.to(dtype), key.to(dtype)
        chosen = q[:, :, y, x]  # (N, D, P)
        row = torch.einsum("ndp,ndpw->npw", chosen, k[:, :, y])
        column = torch.einsum("ndp,ndhp->nph", chosen, k[:, :, :, x])
    logits = q.new_full((q.shape[0], len(y), *size), -torch.inf)
    index = torch.arange(len(y), device=query.device)
    logits[:, index, :, x] = column.transpose(0, 1)  # indices apart bring their axis to the front
    logits[:, index, y] = row
    return logits.flatten(2).softmax(-1).unflatten(2, size)
