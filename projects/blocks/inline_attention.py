"""InLine attention: injective linear attention (Han et al., NeurIPS 2024, arXiv:2412.06590).

Linear attention divides by the sum of its weights, and so forgets how long a query is. Here their
mean is subtracted instead. With heads of d channels, s = d^-1/2, N positions and a kernel phi,

    a_ij = (s/N) phi(q_i).phi(k_j) - (1/N) sum_t (s/N) phi(q_i).phi(k_t) + 1/N       sum_j a_ij = 1
    O_i = sum_j a_ij v_j
    R_i[c] = sum over the 3 x 3 positions around i of r[9c + tap] v[c],   r = W2 GELU(W1 mean(x))
    F' = W_o (O + R) + b_o

Subtracting the mean over the keys turns their sums into a covariance, so N x N weights are never
formed, and the cost is linear in N:

    O_i = mean(v) + s phi(q_i) cov(phi(k), v)

In plain torch, with q, k, v of shape (N, heads, H W, d)::

    mean = v.mean(2, keepdim=True)
    out = mean + d**-0.5 * phi(q) @ ((phi(k) - phi(k).mean(2, keepdim=True)).mT @ (v / (H * W)))

Weights may be negative: there are no ``attention_maps``. R gives back the preference for near
positions that softmax has: a depthwise convolution with kernels of its own for every image.

Written from the formula; the authors publish no licence, and their code was not read. Half
precision and autocast compute O and R in float32.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.heads import (
    merge_heads,
    resolve_num_heads,
    split_heads,
    to_feature_map,
    to_tokens,
)
from mmattn.layers.initial import init_transformer_layers
from mmattn.layers.precision import run_in_float32
from mmattn.ops import accumulate_dtype, autocast_off
from mmattn.registry import MODELS

#: Kernels phi by name. The mean is subtracted, not divided by, so phi may be negative.
FEATURE_MAPS = {"identity": lambda x: x, "relu": torch.relu, "exp": torch.exp}


@MODELS.register_module()
class InLineAttention(nn.Module):
    """Linear attention whose weights are centred, and a convolution with predicted kernels.

    Args:
        in_channels: Channels C, a multiple of the number of heads.
        num_heads: Number of heads; by default C // 32, at least 1, the authors' head width.
        feature_map: The kernel phi, ``'identity'``, ``'relu'`` or ``'exp'``.
        local: Whether R is added.
        qkv_bias: Whether the projection to q, k and v has a bias.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Raises:
        ValueError: C is no multiple of ``num_heads``, or an argument is out of its range.

    Example:
        >>> import torch
        >>> InLineAttention(64)(torch.ones(2, 64, 5, 7)).shape
        torch.Size([2, 64, 5, 7])
    """

    usual_place: ClassVar[str] = (
        "the attention of the blocks of a DeiT, PVT, Swin or CSwin, the whole map as one window"
    )

    def __init__(
        self,
        in_channels: int,
        *,
        num_heads: int | None = None,
        feature_map: Literal["identity", "relu", "exp"] = "identity",
        local: bool = True,
        qkv_bias: bool = True,
    ):
        super().__init__()
        num_heads = resolve_num_heads(in_channels, num_heads)
        if feature_map not in FEATURE_MAPS:
            known = ", ".join(map(repr, FEATURE_MAPS))
            raise ValueError(f"feature_map must be one of {known}, got {feature_map!r}")
        self.num_heads = num_heads
        self.feature_map = feature_map
        self.qkv = nn.Linear(in_channels, 3 * in_channels, bias=qkv_bias)
        self.proj = nn.Linear(in_channels, in_channels)
        self.residual = None
        if local:
            self.residual = nn.Sequential(
                nn.Conv1d(in_channels, in_channels, 1, groups=num_heads),
                nn.GELU(),
                nn.Conv1d(in_channels, 9 * in_channels, 1, groups=num_heads),
            )
        self.init_weights()

    def init_weights(self) -> None:
        """Set the initial state, also after a network has initialised all its layers."""
        init_transformer_layers(self.qkv, self.proj)
        if self.residual is not None:
            self.residual[0].reset_parameters()
            self.residual[2].reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        tokens = to_tokens(x)
        qkv = self.qkv(tokens)
        with autocast_off(x.device.type):
            q, k, v = qkv.to(accumulate_dtype(qkv.dtype)).chunk(3, 2)
            phi = FEATURE_MAPS[self.feature_map]
            heads = (split_heads(part, self.num_heads) for part in (phi(q), phi(k), v))
            out = to_feature_map(merge_heads(centred_attention(*heads)), x.shape[2:])
            if self.residual is not None:
                out = out + convolve_each(to_feature_map(v, x.shape[2:]), self._kernels(tokens))
            out = to_tokens(out.to(x.dtype))
        return to_feature_map(self.proj(out), x.shape[2:])

    def _kernels(self, tokens: Tensor) -> Tensor:
        """Return r, the 3 x 3 kernels of every image and channel, at least float32. (N, C, 9)."""
        mean = tokens.mean(1, dtype=accumulate_dtype(tokens.dtype))
        return run_in_float32(self.residual, mean.unsqueeze(2)).unflatten(1, (-1, 9)).squeeze(3)

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, feature_map={self.feature_map!r}"


def centred_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return O, linear in the number of positions L.

    Args:
        q: Queries, after phi. Shape (N, heads, L, d).
        k: Keys, after phi, of the same shape.
        v: Values, of the same shape.

    Returns:
        (N, heads, L, d)
    """
    mean = v.mean(2, keepdim=True)
    # One of the factors is centred; both would change nothing but the rounding.
    covariance = (k - k.mean(2, keepdim=True)).transpose(2, 3) @ v / v.shape[2]
    return mean + q @ (q.shape[3] ** -0.5 * covariance)


def convolve_each(x: Tensor, kernels: Tensor) -> Tensor:
    """Convolve every image and channel with its own 3 x 3 kernel, zeros around the image.

    Args:
        x: Feature maps. Shape (N, C, H, W).
        kernels: Taps row by row, not mirrored. Shape (N, C, 9).

    Returns:
        (N, C, H, W)
    """
    # A graph for any batch has no number of groups, and torch no convolution with none.
    if torch.compiler.is_compiling() or not len(x):
        return convolve_each_by_shifts(x, kernels)
    groups = kernels.shape[0] * kernels.shape[1]
    image = x.flatten(0, 1).unsqueeze(0)
    y = F.conv2d(image, kernels.reshape(groups, 1, 3, 3), padding=1, groups=groups)
    return y.view(x.shape)


def convolve_each_by_shifts(x: Tensor, kernels: Tensor) -> Tensor:
    """Compute ``convolve_each`` as nine shifted products: its oracle, and its form in a graph."""
    height, width = x.shape[2:]
    padded = F.pad(x, (1, 1, 1, 1))
    taps = kernels[:, :, :, None, None].unbind(2)
    y = torch.zeros_like(x)
    for tap, weight in enumerate(taps):
        row, column = divmod(tap, 3)
        y = y + padded[:, :, row : row + height, column : column + width] * weight
    return y
