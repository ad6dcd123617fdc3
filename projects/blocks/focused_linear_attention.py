"""Focused linear attention (Han et al., FLatten Transformer, ICCV 2023, arXiv:2308.00442).

Linear attention whose feature map sharpens: it keeps the length of queries and keys, which ReLU
made non-negative, and raises their entries to a power p, which turns them towards their largest
entries. With d channels in a head, N = H W, and a = softplus(scale) per channel,

    q, k, v = W x;    q' = (relu(q) + 1e-6) / a;    k' = (relu(k + P) + 1e-6) / a
    phi(u) = |u| u^p / |u^p|
    O_i = sum_j phi(q'_i).phi(k'_j) v_j / (phi(q'_i).sum_j phi(k'_j) + 1e-6)        per head
    y = W_o (O + DWC(v)) + b_o

DWC, a depthwise 5x5 convolution of v as a map, has one set of d kernels for all heads: without it
the rank of linear attention is at most d. P is an optional table of positions. In plain torch, for
a head::

    out = q @ (k.mT @ v) / (q @ k.sum(1, keepdim=True).mT + 1e-6)

The lengths are over all C channels (``norm='channels'``), as in the authors' code, or over those of
a head, as the paper has them.

Differs from the authors' code: P is resized (bilinear, without aligned corners) from the size it
was stored for, so any size works; u is divided by its length or its largest entry before the
power, which changes nothing but overflows; feature maps and sums are float32 at least. The code was
not read: names of weights, epsilons and the norm over all channels are as recalled, unverified.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.checks import as_pair, require_odd
from mmattn.layers.heads import (
    flat_positions,
    merge_heads,
    resolve_num_heads,
    split_heads,
    to_feature_map,
    to_tokens,
)
from mmattn.layers.initial import init_transformer_layers
from mmattn.ops import accumulate_dtype, autocast_off, depthwise_conv2d
from mmattn.registry import MODELS

_EPS = 1e-6
_LOW_POWER = 6  # up to which a length serves in place of the largest entry, in one pass less


@MODELS.register_module()
class FocusedLinearAttention(nn.Module):
    """Attention of all positions to all others in linear time, sharpened by a power.

    The block adds no shortcut; a host does.

    Args:
        in_channels: Channels C of the input.
        num_heads: Number of heads, which divides C; None takes C // 32, at least 1.
        power: p, at least 1; 3 in the paper. With 1 it is linear attention with ReLU.
        dwc_kernel: Side of the kernels of DWC, odd.
        position_size: Height and width that the table P is stored for; None leaves it out.
        norm: What the lengths in phi are over: ``"channels"``, all C of them, or ``"head"``.
        qkv_bias: Whether q, k and v have a bias.

    Raises:
        ValueError: An argument is out of its range, or the heads do not divide C.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Example:
        >>> import torch
        >>> FocusedLinearAttention(64)(torch.ones(2, 64, 5, 7)).shape
        torch.Size([2, 64, 5, 7])
    """

    usual_place: ClassVar[str] = (
        "the attention of a Swin's blocks in its first two stages, the whole map as one window, "
        "and of a PVT's early stages (as recalled, unverified)"
    )

    def __init__(
        self,
        in_channels: int,
        *,
        num_heads: int | None = None,
        power: float = 3,
        dwc_kernel: int = 5,
        position_size: Sequence[int] | None = None,
        norm: Literal["channels", "head"] = "channels",
        qkv_bias: bool = True,
    ):
        super().__init__()
        self.num_heads = resolve_num_heads(in_channels, num_heads)
        require_odd(dwc_kernel=dwc_kernel)
        if power < 1:
            raise ValueError(f"power must be at least 1, got {power}")
        if norm not in ("channels", "head"):
            raise ValueError(f"norm must be 'channels' or 'head', got {norm!r}")
        self.power, self.norm = power, norm
        self.position_size = None
        self.qkv = nn.Linear(in_channels, 3 * in_channels, bias=qkv_bias)
        self.proj = nn.Linear(in_channels, in_channels)
        head_channels = in_channels // self.num_heads
        self.dwc = nn.Conv2d(
            head_channels, head_channels, dwc_kernel, padding=dwc_kernel // 2, groups=head_channels
        )
        self.scale = nn.Parameter(torch.zeros(1, 1, in_channels))
        if position_size is not None:
            self.position_size = height, width = as_pair("position_size", position_size)
            self.positional_encoding = nn.Parameter(torch.zeros(1, height * width, in_channels))
        self.init_weights()

    def init_weights(self) -> None:
        """Set the authors' initial state, also after a network has initialised all its layers."""
        init_transformer_layers(self.qkv, self.proj)
        self.dwc.reset_parameters()
        nn.init.zeros_(self.scale)
        if self.position_size is not None:
            nn.init.zeros_(self.positional_encoding)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        q, k, v = self._features(x)
        with autocast_off(x.device.type):
            values = split_heads(v.to(q.dtype), self.num_heads)
            # As a product it would be counted as work that the published numbers leave out.
            total = (q * k.sum(2, keepdim=True)).sum(3, keepdim=True)
            out = merge_heads(q @ (k.mT @ values) / (total + _EPS))
        local = self._convolved(to_feature_map(v, size))
        return to_feature_map(self.proj(out.to(v.dtype) + to_tokens(local)), size)

    def attention_maps(
        self, x: Tensor, positions: Sequence[Sequence[int]] | None = None
    ) -> dict[str, Tensor]:
        """Return how much some positions attend to every other one, mean of heads.

        Args:
            x: Feature map. Shape (N, C, H, W).
            positions: Row and column of P positions; None takes the centre alone.

        Returns:
            ``"positions"`` of shape (N, P, H, W), with sum 1 but for the epsilon.
        """
        q, k, _ = self._features(x)
        weights = q[:, :, flat_positions(x, positions)] @ k.mT
        weights = weights / (weights.sum(3, keepdim=True) + _EPS)
        return {"positions": weights.mean(1).unflatten(2, tuple(x.shape[2:]))}

    def _features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return phi of queries and keys, (N, heads, H W, d), and values, (N, H W, C)."""
        q, k, v = self.qkv(to_tokens(x)).chunk(3, 2)
        dtype = accumulate_dtype(x.dtype)
        if self.position_size is not None:
            table = to_feature_map(self.positional_encoding.to(dtype), self.position_size)
            resized = F.interpolate(table, tuple(x.shape[2:]), mode="bilinear")
            k = k.to(dtype) + to_tokens(resized)
        factor = 1 / F.softplus(self.scale.to(dtype))
        q, k = (self._focused(t.to(dtype), factor) for t in (q, k))
        return q, k, v

    def _focused(self, t: Tensor, factor: Tensor) -> Tensor:
        """Return phi((relu(t) + 1e-6) factor) by head: (N, H W, C) -> (N, heads, H W, d)."""
        positive, least = t.relu(), _EPS * factor
        overwrite = not torch.is_grad_enabled() and not torch.compiler.is_compiling()
        u = torch.addcmul(least, positive, factor, out=positive if overwrite else None)
        if self.norm == "head":
            u = split_heads(u, self.num_heads)
        phi = focused(u, self.power, overwrite=overwrite)
        return phi if self.norm == "head" else split_heads(phi, self.num_heads)

    def _convolved(self, v: Tensor) -> Tensor:
        """Return DWC(v), for feature maps of shape (N, C, H, W)."""
        weight = self.dwc.weight.repeat(self.num_heads, 1, 1, 1)
        bias = self.dwc.bias.repeat(self.num_heads)
        return depthwise_conv2d(v, weight, bias, padding=self.dwc.padding)

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, power={self.power}, norm={self.norm!r}"


def focused(u: Tensor, power: float, *, overwrite: bool = False) -> Tensor:
    """Return phi(u) = |u| u^p / |u^p|, over the last dimension.

    Args:
        u: Positive numbers of any shape.
        power: p.
        overwrite: Whether the result may lie in the memory of ``u``, where no gradient is needed:
            large arrays take longer to get than to fill.

    Example:
        >>> focused(torch.tensor([3.0, 4.0]), 1).tolist()
        [3.0, 4.0]
        >>> focused(torch.tensor([3.0, 4.0]), 64)[1].item()
        5.0
    """
    length = torch.linalg.vector_norm(u, dim=-1, keepdim=True)
    # Powers of numbers up to 1 do not overflow; high ones of a largest number below 1 would vanish.
    divisor = (length if power <= _LOW_POWER else u.amax(-1, keepdim=True)).detach()
    raised = u.div_(divisor).pow_(power) if overwrite else (u / divisor) ** power
    factor = length / torch.linalg.vector_norm(raised, dim=-1, keepdim=True)
    if raised.requires_grad:
        return raised * factor
    return raised.mul_(factor)  # no further array
