"""Layers that let queries look at the pixels of their own masks, then at each other.

    x = LN(x + masked attention(x + p, memory + e, memory))
    x = LN(x + attention(x + p, x + p, x))
    x = LN(x + W_2 relu(W_1 x))
with p the queries' own positions and e those of the pixels.
"""

from __future__ import annotations

from torch import Tensor, nn

from .attention import MultiheadAttention
from .feed_forward import FeedForward


class DecoderLayer(nn.Module):
    """One layer; weights have the names of mmdet's ``Mask2FormerTransformerDecoderLayer``.

    Args:
        channels: Channels C.
        num_heads: Heads of both attentions.
        ffn_channels: Channels between the two linear layers at the end.

    Shape:
        - x, query_positions: (B, Q, C)
        - keys, values: (B, K, C), the memory with and without positions
        - allowed: (B, 1, Q, K) bool
        - output: (B, Q, C)
    """

    def __init__(self, channels: int, num_heads: int, ffn_channels: int):
        super().__init__()
        self.cross_attn = MultiheadAttention(channels, num_heads)
        self.self_attn = MultiheadAttention(channels, num_heads)
        self.ffn = FeedForward(channels, ffn_channels)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))

    def forward(
        self, x: Tensor, query_positions: Tensor, keys: Tensor, values: Tensor, allowed: Tensor
    ) -> Tensor:
        x = self.norms[0](x + self.cross_attn(x + query_positions, keys, values, allowed))
        placed = x + query_positions
        x = self.norms[1](x + self.self_attn(placed, placed, x))
        return self.norms[2](x + self.ffn(x))


class TransformerDecoder(nn.Module):
    """The layers, and the norm in front of every prediction.

    Args:
        channels: Channels C.
        num_heads: Heads of the attentions.
        num_layers: Number of layers.
        ffn_channels: Channels between the linear layers of each.
    """

    def __init__(self, channels: int, num_heads: int, num_layers: int, ffn_channels: int):
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(channels, num_heads, ffn_channels) for _ in range(num_layers)
        )
        self.post_norm = nn.LayerNorm(channels)

    def init_weights(self) -> None:
        """Initialise all matrices by uniform Xavier, as the authors."""
        for module in self.modules():
            if isinstance(module, (MultiheadAttention, FeedForward)):
                module.init_weights()
