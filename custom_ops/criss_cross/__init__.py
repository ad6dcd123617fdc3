"""Criss-cross attention (Huang et al., CCNet, ICCV 2019 and TPAMI 2020, arXiv:1811.11721)."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from . import reference


def criss_cross_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Let every position attend to the H + W - 1 positions of its row and its column.

        A[u] = softmax_i(query[u] . key[i]),  i in row(u) + column(u)
        y[u] = sum_i A[u, i] value[i]

    Position u itself is counted once, the softmax is one over row and column together, and the
    logits are not scaled by 1 / sqrt(D). It takes O(HW (H + W)) operations and memory.

    Half-precision inputs are computed in float32 and rounded once, at the end; float64 stays
    float64. Autocast is left outside, since a half-precision logit overflows beyond 65504.

    Args:
        query: What each position looks for. Shape (N, D, H, W).
        key: What each position is found by. Shape (N, D, H, W).
        value: What is gathered. Shape (N, C, H, W).

    Returns:
        What was gathered, in the dtype of ``value``, channels-last in memory. Shape (N, C, H, W).

    Raises:
        TypeError: A tensor is not floating point, or the dtypes differ.
        ValueError: A tensor is not 4-D, the shapes do not agree, H or W is 0, or devices differ.

    Example:
        >>> q, k, v = torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4), torch.ones(1, 5, 3, 4)
        >>> criss_cross_attention(q, k, v).shape
        torch.Size([1, 5, 3, 4])
    """
    _check(query, key, value)
    dtype = value.dtype
    exact = dtype if dtype in (torch.float32, torch.float64) else torch.float32
    with _autocast_off(value.device.type):
        out = reference.criss_cross_attention(query.to(exact), key.to(exact), value.to(exact))
    return out.to(dtype)


def _autocast_off(device_type: str):
    # Entered only where autocast is on: an exported graph should not carry a region for nothing.
    # Some devices, such as meta, know no autocast at all.
    if torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


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
