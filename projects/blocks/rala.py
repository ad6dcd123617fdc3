"""Rank-augmented linear attention (Fan, Huang and He, RALA, CVPR 2025, arXiv:2411.07635).

Linear attention in which keys count more the better they match the mean query, and whose output is
multiplied by a linear map of the input: both raise the rank. With d channels in a head, N = H W,

    q, k, v, o = W x + b;    q = elu(q) + 1;    k = elu(k) + 1
    alpha_j = N softmax_j(d^-1/2 mean_i(q_i).k_j);    k~_j = alpha_j k_j
    z_i = 1 / (q_i.mean_j(k~_j) + 1e-6)
    y_i = z_i rot_i(q_i) (1/N sum_j rot_j(k~_j)^T v_j) + LePE(v)_i
    result = W_o (y * o) + b_o

LePE is a depthwise 5x5 convolution of v as a map. rot turns pairs of neighbouring channels: in the
first half of a head by the row times theta_t, in the second half by the column times theta_t, with
theta_t = 10000^(-t / (m - 1)) for t = 0, …, m - 1, m = d / 4. Only the numerator is rotated, so
that weights may be negative and their sum is not 1. In plain torch, for a head::

    k = k * (q.mean(1, keepdim=True) @ k.mT / d**0.5).softmax(-1).mT        # alpha k / N
    z = 1 / (q @ k.sum(1, keepdim=True).mT + 1e-6)
    y = z * rot(q) @ (rot(k).mT @ v) + e

``linear=False`` is the form of the authors' later stages: softmax(d^-1/2 rot(q) rot(k)^T) v in
place of the first term, without elu.

Differs from the authors' code: feature maps, sums and rotations are float32 at least; a number of
channels of a head that 4 does not divide is an error (theirs takes wrong angles).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.checks import require_odd
from mmattn.layers.depthwise import DepthwiseConv2d
from mmattn.layers.heads import (
    merge_heads,
    resolve_num_heads,
    split_heads,
    to_feature_map,
    to_tokens,
)
from mmattn.layers.initial import init_transformer_layers
from mmattn.layers.rotary import rotate, rotation_2d
from mmattn.ops import accumulate_dtype, autocast_off
from mmattn.registry import MODELS

_EPS = 1e-6


@MODELS.register_module()
class RankAugmentedAttention(nn.Module):
    """Attention of all positions to all others in linear time, with a gate that raises its rank.

    The block adds no shortcut; a host does.

    Args:
        in_channels: Channels C of the input.
        num_heads: Number of heads, which divides C; None takes C // 64, at least 1.
        linear: Whether attention is linear; otherwise it is that of softmax, in (H W)^2.
        lepe_kernel: Side of the kernel of LePE, odd.
        rope: Whether positions rotate queries and keys; a head then has a multiple of 4 channels.

    Raises:
        ValueError: An argument is out of its range, or the heads do not divide C.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Example:
        >>> import torch
        >>> RankAugmentedAttention(64)(torch.ones(2, 64, 5, 7)).shape
        torch.Size([2, 64, 5, 7])
    """

    usual_place: ClassVar[str] = (
        "the attention of RAVLT's blocks: linear in stages 1 and 2, linear=False in stages 3 and 4"
    )

    def __init__(
        self,
        in_channels: int,
        *,
        num_heads: int | None = None,
        linear: bool = True,
        lepe_kernel: int = 5,
        rope: bool = True,
    ):
        super().__init__()
        self.num_heads = resolve_num_heads(in_channels, num_heads, head_channels=64)
        require_odd(lepe_kernel=lepe_kernel)
        head_channels = in_channels // self.num_heads
        if rope and head_channels % 4:
            raise ValueError(
                f"rope needs a multiple of 4 channels in a head, got {head_channels}: in_channels "
                f"{in_channels} and num_heads {self.num_heads}"
            )
        self.linear, self.rope = linear, rope
        self.qkvo = nn.Conv2d(in_channels, 4 * in_channels, 1)
        self.lepe = DepthwiseConv2d(in_channels, lepe_kernel)
        self.proj = nn.Conv2d(in_channels, in_channels, 1)
        self.init_weights()

    def init_weights(self) -> None:
        """Set the authors' initial state, also after a network has initialised all its layers."""
        init_transformer_layers(self.qkvo, self.lepe, self.proj)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        q, k, v, gate = self.qkvo(x).chunk(4, 1)
        local = self.lepe(v)
        q, k, v = to_tokens(q), to_tokens(k), to_tokens(v)
        attended = self._linear(q, k, v, size) if self.linear else self._softmax(q, k, v, size)
        return self.proj((to_feature_map(attended, size) + local) * gate)

    def attention_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return ``"keys"``: how much the key of every position counts, for each head.

        Shape (N, heads, H, W); the maps of a head sum to 1. Of the form with softmax: how much the
        mean query attends to every position, without rotation.
        """
        q, k = (self._by_head(t) for t in to_tokens(self.qkvo(x)).chunk(4, 2)[:2])
        if self.linear:
            q, k = F.elu(q) + 1, F.elu(k) + 1
        return {"keys": self._key_weights(q, k).flatten(2).unflatten(2, tuple(x.shape[2:]))}

    def _by_head(self, tokens: Tensor) -> Tensor:
        """(N, H W, C) -> (N, heads, H W, d), at least float32."""
        return split_heads(tokens.to(accumulate_dtype(tokens.dtype)), self.num_heads)

    def _key_weights(self, q: Tensor, k: Tensor) -> Tensor:
        """Return alpha / N for each head, whose sum is 1. Shape (N, heads, H W, 1)."""
        mean = q.mean(2, keepdim=True)
        return (k @ mean.mT * k.shape[3] ** -0.5).softmax(2)

    def _linear(self, q: Tensor, k: Tensor, v: Tensor, size: torch.Size) -> Tensor:
        """Linear attention of tokens (N, H W, C), in their dtype."""
        dtype = v.dtype
        with autocast_off(v.device.type):
            q, k, v = (self._by_head(t) for t in (q, k, v))
            q, k = F.elu(q) + 1, F.elu(k) + 1
            k = k * self._key_weights(q, k)
            total = q @ k.sum(2, keepdim=True).mT  # without rotation
            q, k = self._rotated(q, k, size)
            return merge_heads(q @ (k.mT @ v) / (total + _EPS)).to(dtype)

    def _softmax(self, q: Tensor, k: Tensor, v: Tensor, size: torch.Size) -> Tensor:
        """Attention with softmax of tokens (N, H W, C), in their dtype."""
        dtype = v.dtype
        q, k = (t.to(dtype) for t in self._rotated(self._by_head(q), self._by_head(k), size))
        v = split_heads(v, self.num_heads)
        return merge_heads(F.scaled_dot_product_attention(q, k, v))

    def _rotated(self, q: Tensor, k: Tensor, size: torch.Size) -> tuple[Tensor, Tensor]:
        if not self.rope:
            return q, k
        cos, sin = rotation_2d(size, q)
        return rotate(q, cos, sin), rotate(k, cos, sin)

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, linear={self.linear}, rope={self.rope}"
