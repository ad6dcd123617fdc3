"""Self-attention of a feature pyramid over a few points (Zhu et al., arXiv:2010.04159).

Every pixel x of every level reads P points of each level around its own place r(x):
    A = softmax over (level, point) of W_a (x + e)
    p[l, k] = r(x) + W_o (x + e)[l, k] / (width_l, height_l)
    y = W_out sum_{l, k} A[l, k] (W_v X_l)(p[l, k])          for each of M heads
where e encodes the pixel's position and level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmattn.layers.precision import run_in_float32
from mmattn.ops import multi_scale_deformable_attention


class DeformableSelfAttention(nn.Module):
    """Multi-scale deformable self-attention; weights have the names of mmcv's layer.

    Offsets and weights of the points are computed in float32: in half precision an offset of some
    pixels is off by a visible part of one.

    Args:
        channels: Channels C of the tokens.
        num_heads: Heads M, a divisor of ``channels``.
        num_levels: Levels L of the pyramid.
        num_points: Points P that a head reads of each level.

    Shape:
        - x: (B, N, C), pixels of all levels, one level after the other
        - positions: (N, C)
        - reference: (N, 2), places of the pixels as (x, y) from 0 to 1
        - output: (B, N, C)
    """

    def __init__(self, channels: int, num_heads: int = 8, num_levels: int = 3, num_points: int = 4):
        super().__init__()
        self.points = (num_heads, num_levels, num_points)
        samples = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(channels, 2 * samples)
        self.attention_weights = nn.Linear(channels, samples)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.init_weights()

    def init_weights(self) -> None:
        """Let head m look into the m-th of M directions, point k at k + 1 pixels; weights equal."""
        heads, _, points = self.points
        angles = torch.arange(heads, dtype=torch.float32) * (2 * math.pi / heads)
        directions = torch.stack((angles.cos(), angles.sin()), dim=1)
        directions = directions / directions.abs().amax(dim=1, keepdim=True)
        steps = torch.arange(1, points + 1, dtype=torch.float32)
        offsets = directions[:, None, None] * steps[:, None]  # (M, 1, P, 2)
        nn.init.zeros_(self.sampling_offsets.weight)
        with torch.no_grad():
            places = offsets.expand(*self.points, 2).reshape(-1)
            self.sampling_offsets.bias.copy_(places)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        reference: Tensor,
        shapes: Sequence[tuple[int, int]],
    ) -> Tensor:
        batch, tokens, _ = x.shape
        heads, levels, points = self.points
        value = self.value_proj(x).view(batch, tokens, heads, -1)
        query = x + positions
        weights = run_in_float32(self.attention_weights, query)
        weights = weights.view(batch, tokens, heads, levels * points).softmax(-1)
        weights = weights.view(batch, tokens, heads, levels, points)
        # Not one tensor of numbers: that would fix the sizes in an exported graph.
        sides = [reference.new_full((), side) for shape in shapes for side in reversed(shape)]
        sizes = torch.stack(sides).view(levels, 2)
        offsets = run_in_float32(self.sampling_offsets, query)
        offsets = offsets.view(batch, tokens, heads, levels, points, 2)
        places = reference[:, None, None, None] + offsets / sizes[:, None]
        return self.output_proj(multi_scale_deformable_attention(value, shapes, places, weights))


def pixel_centres(
    shapes: Sequence[tuple[int, int]], device: torch.device | str | None = None
) -> Tensor:
    """Return the centres of all pixels of a pyramid as (x, y) from 0 to 1, (N, 2) float32."""
    centres = []
    for height, width in shapes:
        y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
        x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
        both = torch.stack((x.expand(height, -1), y[:, None].expand(-1, width)), dim=2)
        centres.append(both.flatten(0, 1))
    return torch.cat(centres)
