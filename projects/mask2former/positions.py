"""Sine encoding of positions in a feature map (Carion et al., DETR, arXiv:2005.12872).

e[y, x] = [sin(w_0 v), cos(w_0 v), sin(w_1 v), cos(w_1 v), …,  the same for u]
v = 2 pi (y + 1) / (H + 1e-6),  u = 2 pi (x + 1) / (W + 1e-6),  w_i = 10000^(-2 i / (C / 2))
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TEMPERATURE = 10_000.0
_EPS = 1e-6


def sine_positions(
    height: int, width: int, channels: int, device: torch.device | str | None = None
) -> Tensor:
    """Encode the position of every pixel, row by row; rows (y) take the first half of channels.

    Args:
        height: Rows H of the feature map.
        width: Columns W.
        channels: Channels C, a multiple of 4.
        device: Where to compute.

    Returns:
        (H W, C) float32
    """
    exponents = torch.arange(channels // 4, device=device, dtype=torch.float32) * 4 / channels
    frequencies = TEMPERATURE**-exponents
    rows = _waves(height, frequencies)[:, None].expand(-1, width, -1)
    columns = _waves(width, frequencies)[None].expand(height, -1, -1)
    return torch.cat((rows, columns), dim=2).flatten(0, 1)


def _waves(length: int, frequencies: Tensor) -> Tensor:
    """Return sine and cosine by turns of every position along one axis, (length, C / 2)."""
    places = torch.arange(1, length + 1, device=frequencies.device, dtype=torch.float32)
    angles = (places * (2 * math.pi) / (length + _EPS))[:, None] * frequencies
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)
