"""Neighborhood attention (Hassani et al., CVPR 2023, arXiv:2204.07143), dilated (arXiv:2209.15001).

Every position attends to the k x k positions nearest to it. At a border the window is moved inside,
so that it has k^2 keys everywhere; with dilation e it sees every e-th position. In each head of d
channels, with q, k, v = W x and a table B of relative positions,

    y[u] = W_o sum_j softmax_j(q[u] . k[j] / sqrt(d) + B[(j - u) / e]) v[j]

In plain torch, for positions in the middle of a map::

    keys = F.unfold(k, size, dilation=e, padding=e * (size // 2)).unflatten(1, (d, size**2))
    logits = (q.flatten(2)[:, :, None] * keys).sum(1) / d**0.5 + middle_of_the_table
    y = (F.unfold(v, ...).unflatten(1, (d, size**2)) * logits.softmax(1)[:, None]).sum(2)

Differs from the authors' code: a map that is smaller than k e along an axis is seen as a whole
along it. Theirs pads the input with zeros there, whose keys are the projection's bias, and attends
to them; ``small_map="pad"`` does the same.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.checks import require_at_least, require_odd
from mmattn.layers.heads import resolve_num_heads
from mmattn.layers.initial import init_transformer_layers
from mmattn.ops import neighborhood_attention_2d
from mmattn.registry import MODELS


@MODELS.register_module()
class NeighborhoodAttention(nn.Module):
    """Attention of every position to the k x k nearest ones.

    The block adds no shortcut; a host does::

        x = x + NeighborhoodAttention(64)(norm(x))

    Args:
        in_channels: Channels C of the input.
        num_heads: Number of heads, which divides C; None takes C // 32, at least 1.
        kernel_size: k, odd.
        dilation: e.
        rel_pos_bias: Whether there is a table of relative positions.
        qkv_bias: Whether q, k and v have a bias.
        small_map: What happens along an axis of fewer than k e positions: ``"clip"`` sees them all
            and nothing else, ``"pad"`` also attends to padding, as the authors' released networks
            do.

    Raises:
        ValueError: A number is out of its range, the heads do not divide C, or no such
            ``small_map``.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Example:
        >>> import torch
        >>> NeighborhoodAttention(64, dilation=2)(torch.ones(2, 64, 15, 17)).shape
        torch.Size([2, 64, 15, 17])
    """

    usual_place: ClassVar[str] = (
        "the attention of NAT's blocks in all four stages; in DiNAT every second block is dilated"
    )

    def __init__(
        self,
        in_channels: int,
        *,
        num_heads: int | None = None,
        kernel_size: int = 7,
        dilation: int = 1,
        rel_pos_bias: bool = True,
        qkv_bias: bool = True,
        small_map: str = "clip",
    ):
        super().__init__()
        self.num_heads = resolve_num_heads(in_channels, num_heads)
        require_odd(kernel_size=kernel_size)
        require_at_least(1, dilation=dilation)
        if small_map not in ("clip", "pad"):
            raise ValueError(f"small_map must be 'clip' or 'pad', got {small_map!r}")
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.small_map = small_map
        self.qkv = nn.Linear(in_channels, 3 * in_channels, bias=qkv_bias)
        self.proj = nn.Linear(in_channels, in_channels)
        side = 2 * kernel_size - 1
        self.rpb: nn.Parameter | None = None
        if rel_pos_bias:
            self.rpb = nn.Parameter(torch.empty(self.num_heads, side, side))
        self.init_weights()

    def init_weights(self) -> None:
        """Set the authors' initial state, also after a network has initialised all its layers."""
        init_transformer_layers(self.qkv, self.proj)
        if self.rpb is not None:
            nn.init.trunc_normal_(self.rpb, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def attend(self, x: Tensor) -> Tensor:
        """Attention of a channels-last map. Shape (N, H, W, C) -> (N, H, W, C)."""
        height, width = x.shape[1:3]
        if self.small_map == "pad":
            smallest = self.kernel_size * self.dilation
            bottom, right = max(smallest - height, 0), max(smallest - width, 0)
            if bottom or right:
                x = F.pad(x, (0, 0, 0, right, 0, bottom))
        # One projection; the operator reads its parts where they are.
        qkv = self.qkv(x).unflatten(3, (3, self.num_heads, -1)).permute(3, 0, 4, 1, 2, 5)
        q, k, v = qkv.unbind(0)  # (N, heads, H, W, d)
        y = neighborhood_attention_2d(q, k, v, self.kernel_size, self.dilation, self.rpb)
        y = y.permute(0, 2, 3, 1, 4)[:, :height, :width]
        return self.proj(y.flatten(3))

    def extra_repr(self) -> str:
        return (
            f"num_heads={self.num_heads}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, small_map={self.small_map!r}"
        )
