"""Criss-cross attention (Huang et al., CCNet, ICCV 2019 and TPAMI 2020, arXiv:1811.11721)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import torch
from torch import Tensor

from .._library import autocast_off, exporting
from . import reference
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

    Position u itself is counted once, the softmax is one over row and column together, and the
    logits are not scaled by 1 / sqrt(D). It takes O(HW (H + W)) operations; for the backward pass
    the inputs, the output and the log-sum-exp are kept, and no attention map.

    Logits and softmax are float32 for half-precision inputs and float64 for float64. Autocast is
    left outside, since a half-precision logit overflows beyond 65504. Exported graphs hold
    standard matrix products.

    Args:
        query: What each position looks for. Shape (N, D, H, W).
        key: What each position is found by. Shape (N, D, H, W).
        value: What is gathered. Shape (N, C, H, W). Like the others best laid out channels-last;
            other layouts are copied.
        return_lse: Return the log-sum-exp of the logits too; the weight of key i in position u is
            exp(query[u] . key[i] - lse[u]). It is differentiable.

    Returns:
        What was gathered, in the dtype of ``value``, channels-last in memory. Shape (N, C, H, W).
        With ``return_lse`` also the log-sum-exp, float32 or float64. Shape (N, H, W).

    Raises:
        TypeError: A tensor is not floating point, or the dtypes differ.
        ValueError: A tensor is not 4-D, the shapes do not agree, H or W is 0, or devices differ.

    Example:
        >>> q, k, v = torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4), torch.ones(1, 5, 3, 4)
        >>> criss_cross_attention(q, k, v).shape
        torch.Size([1, 5, 3, 4])
    """
    _check(query, key, value)
    if exporting():
        out, lse = reference.forward(query, key, value)
    else:
        # Copied out here, so that the backward pass finds the copies and need not copy again.
        inputs = (t.contiguous(memory_format=torch.channels_last) for t in (query, key, value))
        out, lse = torch.ops.mmattn.criss_cross(*inputs)
    return (out, lse) if return_lse else out


def criss_cross_weights(
    query: Tensor, key: Tensor, positions: Tensor | Sequence[Sequence[int]]
) -> Tensor:
    """How much some positions attend to every other one: pictures of the attention.

    Computes the weights of these positions alone, in O(H + W) each.

    Args:
        query: What each position looks for. Shape (N, D, H, W).
        key: What each position is found by. Shape (N, D, H, W).
        positions: Row and column of each position, whole numbers from 0. Shape (P, 2).

    Returns:
        Maps that are zero off the position's row and column and add up to 1, float32 or float64.
        Shape (N, P, H, W).

    Raises:
        TypeError: As ``criss_cross_attention``, or positions are not whole numbers.
        ValueError: As ``criss_cross_attention``, or a position lies outside of the picture.

    Example:
        >>> q = k = torch.zeros(1, 2, 3, 4)
        >>> round(criss_cross_weights(q, k, [(0, 1)])[0, 0, 2, 1].item(), 4)
        0.1667
    """
    _check(query, key, query)
    size = query.shape[2:]
    positions = torch.as_tensor(positions)
    if positions.is_floating_point() or positions.is_complex() or positions.dtype == torch.bool:
        raise TypeError(
            f"criss_cross_weights: positions must be whole numbers, got {positions.dtype}"
        )
    if positions.dim() != 2 or positions.shape[1] != 2:
        raise ValueError(
            "criss_cross_weights: positions must be rows and columns of shape (P, 2), got "
            f"{tuple(positions.shape)}"
        )
    limit = torch.tensor(size, device=positions.device)
    outside = ((positions < 0) | (positions >= limit)).any(1)
    if outside.any():
        raise ValueError(
            f"criss_cross_weights: position {tuple(positions[outside][0].tolist())} is outside of "
            f"the picture of {size[0]} x {size[1]}"
        )
    y, x = positions.to(query.device, torch.int64).unbind(1)
    exact = torch.promote_types(query.dtype, torch.float32)
    with autocast_off(query.device.type):
        q, k = query.to(exact), key.to(exact)
        wanted = q[:, :, y, x]  # (N, D, P)
        row = torch.einsum("ndp,ndpw->npw", wanted, k[:, :, y])
        column = torch.einsum("ndp,ndhp->nph", wanted, k[:, :, :, x])
    logits = q.new_full((q.shape[0], len(y), *size), -torch.inf)
    index = torch.arange(len(y), device=query.device)
    logits[:, index, :, x] = column.transpose(0, 1)  # indices apart bring their axis to the front
    logits[:, index, y] = row
    return logits.flatten(2).softmax(-1).unflatten(2, size)


def _check(query: Tensor, key: Tensor, value: Tensor) -> None:
    named = {"query": query, "key": key, "value": value}
    for name, tensor in named.items():
        if tensor.dim() != 4:
            raise ValueError(
                f"criss_cross_attention: {name} must have 4 dimensions (N, channels, H, W), "
                f"got shape {tuple(tensor.shape)}"
            )
        if not tensor.is_floating_point():
            raise TypeError(
                f"criss_cross_attention: {name} must be a floating point tensor, got {tensor.dtype}"
            )
    if not query.dtype == key.dtype == value.dtype:
        raise TypeError(
            "criss_cross_attention: query, key and value must have one dtype, got "
            f"{query.dtype}, {key.dtype} and {value.dtype}; convert them first"
        )
    if not query.device == key.device == value.device:
        raise ValueError(
            "criss_cross_attention: query, key and value must be on one device, got "
            f"{query.device}, {key.device} and {value.device}"
        )
    if query.shape != key.shape:
        raise ValueError(
            "criss_cross_attention: query and key must have one shape, got "
            f"{tuple(query.shape)} and {tuple(key.shape)}"
        )
    if query.shape[0] != value.shape[0] or query.shape[2:] != value.shape[2:]:
        raise ValueError(
            "criss_cross_attention: value must agree with query in N, H and W, got "
            f"{tuple(value.shape)} and {tuple(query.shape)}"
        )
    if value.shape[2] == 0 or value.shape[3] == 0:
        raise ValueError(
            f"criss_cross_attention: H and W must be at least 1, got {tuple(value.shape[2:])}"
        )
