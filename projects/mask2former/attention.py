"""Multi-head attention with one mask for all heads.

    y = W_out [softmax(q_m k_m^T / sqrt(d) + mask) v_m for every head m]
The mask is the same for every head, so it is given once and broadcast; torch's
``scaled_dot_product_attention`` keeps no probabilities.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MultiheadAttention(nn.Module):
    """Attention of queries to a memory, or to each other.

    Weights have the names of mmcv's ``MultiheadAttention``: ``attn.in_proj_weight`` holds those of
    queries, keys and values one below the other.

    Args:
        channels: Channels C.
        num_heads: Heads, a divisor of ``channels``.

    Shape:
        - query: (B, Q, C)
        - key, value: (B, K, C)
        - allowed: None, or (B, 1, Q, K) bool: True where a query may look
        - output: (B, Q, C)
    """

    def __init__(self, channels: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.attn = _Projections(channels)
        self.init_weights()

    def init_weights(self) -> None:
        nn.init.xavier_uniform_(self.attn.in_proj_weight)
        nn.init.zeros_(self.attn.in_proj_bias)
        nn.init.xavier_uniform_(self.attn.out_proj.weight)
        nn.init.zeros_(self.attn.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None
    ) -> Tensor:
        weights = self.attn.in_proj_weight.chunk(3)
        biases = self.attn.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(x, weight, bias).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        return self.attn.out_proj(y.transpose(1, 2).flatten(2))


class _Projections(nn.Module):
    """Weights in the layout of ``nn.MultiheadAttention``."""

    def __init__(self, channels: int):
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
