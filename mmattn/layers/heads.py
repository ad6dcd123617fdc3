"""Attention heads, and feature maps as sequences of positions.

Where a feature map is laid out channels-last, all of these are views; linear layers then run on its
positions without a copy, and their results are channels-last feature maps again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .checks import require_at_least


def resolve_num_heads(in_channels: int, num_heads: int | None, head_channels: int = 32) -> int:
    """Return the number of heads, which has to divide the number of channels.

    Args:
        in_channels: Channels C.
        num_heads: Number of heads; None takes C // ``head_channels``, at least 1.
        head_channels: Channels of a head where ``num_heads`` is None.

    Raises:
        ValueError: A number is less than 1, or the number of heads does not divide C.

    Example:
        >>> resolve_num_heads(96, None), resolve_num_heads(96, 4)
        (3, 4)
        >>> resolve_num_heads(96, 5)
        Traceback (most recent call last):
        ValueError: num_heads must divide in_channels, got 5 heads for 96 channels
    """
    require_at_least(1, in_channels=in_channels, num_heads=num_heads)
    if num_heads is None:
        num_heads = max(in_channels // head_channels, 1)
    if in_channels % num_heads:
        raise ValueError(
            f"num_heads must divide in_channels, got {num_heads} heads for {in_channels} channels"
        )
    return num_heads


def to_tokens(x: Tensor) -> Tensor:
    """Return the positions of feature maps, row by row: (N, C, H, W) -> (N, H W, C)."""
    return x.flatten(2).transpose(1, 2)


def to_feature_map(tokens: Tensor, size: Sequence[int]) -> Tensor:
    """Return feature maps of this height and width: (N, H W, C) -> (N, C, H, W)."""
    return tokens.transpose(1, 2).unflatten(2, tuple(size))


def split_heads(tokens: Tensor, num_heads: int) -> Tensor:
    """Return each head's share of the channels: (N, L, heads d) -> (N, heads, L, d)."""
    return tokens.unflatten(2, (num_heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """Return the channels of all heads side by side: (N, heads, L, d) -> (N, L, heads d)."""
    return x.transpose(1, 2).flatten(2)


def flat_positions(x: Tensor, positions: Sequence[Sequence[int]] | None) -> Tensor:
    """Return numbers, row by row, of positions of feature maps.

    Args:
        x: Feature maps. Shape (N, C, H, W).
        positions: Row and column of P positions; None takes the centre alone.

    Returns:
        (P,), integers
    """
    height, width = x.shape[2:]
    if positions is None:
        positions = [(height // 2, width // 2)]
    return torch.tensor([row * width + column for row, column in positions], device=x.device)
