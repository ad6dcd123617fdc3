"""Checks of criss-cross attention's arguments."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._checks import check_floating_point, check_same_device, check_same_dtype, check_tensor


def check_attention(op: str, query: Tensor, key: Tensor, value: Tensor) -> None:
    """Check dtypes, devices and shapes.

    Args:
        op: Name of the function, used in messages.
        query: Queries. Shape (N, D, H, W).
        key: Keys. Shape (N, D, H, W).
        value: Values. Shape (N, C, H, W).

    Raises:
        TypeError: A tensor is not floating point, or the dtypes differ.
        ValueError: A tensor is not 4-D, the shapes do not agree, H or W is 0, or devices differ.
    """
    tensors = {"query": query, "key": key, "value": value}
    for name, tensor in tensors.items():
        check_tensor(op, name, tensor)
        if tensor.dim() != 4:
            raise ValueError(
                f"{op}: {name} must have 4 dimensions (N, channels, H, W), got shape "
                f"{tuple(tensor.shape)}"
            )
        check_floating_point(op, name, tensor)
    check_same_dtype(op, tensors)
    check_same_device(op, tensors)
    if query.shape != key.shape:
        raise ValueError(
            f"{op}: query and key must have the same shape, got {tuple(query.shape)} and "
            f"{tuple(key.shape)}"
        )
    if query.shape[0] != value.shape[0] or query.shape[2:] != value.shape[2:]:
        raise ValueError(
            f"{op}: value must agree with query in N, H and W, got {tuple(value.shape)} and "
            f"{tuple(query.shape)}"
        )
    if value.shape[2] == 0 or value.shape[3] == 0:
        raise ValueError(f"{op}: H and W must be at least 1, got {tuple(value.shape[2:])}")


def as_positions(
    op: str, positions: Tensor | Sequence[Sequence[int]], size: Sequence[int]
) -> Tensor:
    """Return positions as a tensor of whole numbers, checked.

    Args:
        op: Name of the function, used in messages.
        positions: Row and column of each position, from 0. Shape (P, 2).
        size: Height and width of the feature map.

    Raises:
        TypeError: Positions are not whole numbers.
        ValueError: Positions have another shape, or one lies outside the feature map.
    """
    positions = torch.as_tensor(positions)
    if positions.is_floating_point() or positions.is_complex() or positions.dtype == torch.bool:
        raise TypeError(f"{op}: positions must be whole numbers, got {positions.dtype}")
    if positions.dim() != 2 or positions.shape[1] != 2:
        raise ValueError(
            f"{op}: positions must be rows and columns of shape (P, 2), got shape "
            f"{tuple(positions.shape)}"
        )
    limit = torch.tensor(tuple(size), device=positions.device)
    outside = ((positions < 0) | (positions >= limit)).any(1)
    if outside.any():
        raise ValueError(
            f"{op}: position {tuple(positions[outside][0].tolist())} is outside the feature map of "
            f"{size[0]} x {size[1]}"
        )
    return positions
