"""BEVANet's large-kernel attention (ICIP 2025, arXiv:2508.07300), and its variant in the DLKPPM.

    x <- x + g A(BN(x)),   A(z) = z + P2(gate(GELU(P1 z))),   gate(u) = u * 1x1(a(u))

SDLSKA, sparsely decomposed large separable kernel attention: parallel strips,

    s = DW5x5(u);   h = DW1xn(s), v = DWnx1(s) with dilation r;   a = CKS(s, h, v)

so the receptive field is a cross, 35x5 and 5x35 for n = 11 and r = 3: 325 pixels of the 35x35.
LSKA (Lau et al., arXiv:2309.01439) applies the strips one after the other; its receptive field is
the whole square:

    a = DWnx1(DW1xn(DW5x1(DW1x5(u)))), the last two with dilation r

P1 and P2 are 1x1, all convolutions have biases, and g scales channels. A adds its own, normalised,
input. With BN(x) = b x + c, all of it is

    x <- (1 + g b) x + P2'(gate(GELU(P1' x)))

in the fused model: P1' = P1 BN, and P2' = g P2 + g c.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.errors import did_you_mean
from mmattn.layers.depthwise import DepthwiseConv2d
from mmattn.layers.folding import Affine, affine_of, fold_after, fold_before
from mmattn.layers.fuse import fuse_children

from .conv_blocks import build_norm
from .kernel_selection import CKS


class Strips(NamedTuple):
    """How a large kernel is decomposed: a dense kernel, then strips of dilated taps."""

    dense: int
    taps: int
    dilation: int


# Side of the kernel -> its parts: side = dense + dilation * (taps - 1).
STRIPS = {7: Strips(3, 3, 2), 11: Strips(3, 5, 2), 23: Strips(5, 7, 3), 35: Strips(5, 11, 3)}


def strips_of(kernel_size: int) -> Strips:
    """Return the decomposition of a kernel of this side.

    Raises:
        ValueError: The size is not one of ``STRIPS``.
    """
    if kernel_size not in STRIPS:
        known = ", ".join(map(str, STRIPS))
        hint = did_you_mean(str(kernel_size), map(str, STRIPS))
        raise ValueError(f"kernel_size must be one of {known}, got {kernel_size!r}.{hint}")
    return STRIPS[kernel_size]


class SDLSKA(nn.Module):
    """A gate whose receptive field is a cross of two parallel strips.

    Args:
        channels: Channels C.
        kernel_size: Side of the cross: 7, 11, 23 or 35.
        norm_cfg: Config of the norms of the kernel selection.

    Shape:
        (N, C, H, W), the same out
    """

    def __init__(self, channels: int, kernel_size: int, *, norm_cfg: dict | None = None):
        super().__init__()
        dense, taps, dilation = strips_of(kernel_size)
        self.small = DepthwiseConv2d(channels, dense)
        self.horizontal = DepthwiseConv2d(channels, (1, taps), dilation=dilation)
        self.vertical = DepthwiseConv2d(channels, (taps, 1), dilation=dilation)
        self.select = CKS(channels, norm_cfg=norm_cfg)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, u: Tensor) -> Tensor:
        small = self.small(u)
        return u * self.mix(self.select(small, self.horizontal(small), self.vertical(small)))


class LSKA(nn.Module):
    """A gate whose receptive field is a square, from strips one after the other.

    Args:
        channels: Channels C.
        kernel_size: Side of the square: 7, 11, 23 or 35.

    Shape:
        (N, C, H, W), the same out
    """

    def __init__(self, channels: int, kernel_size: int):
        super().__init__()
        dense, taps, dilation = strips_of(kernel_size)
        self.small_horizontal = DepthwiseConv2d(channels, (1, dense))
        self.small_vertical = DepthwiseConv2d(channels, (dense, 1))
        self.horizontal = DepthwiseConv2d(channels, (1, taps), dilation=dilation)
        self.vertical = DepthwiseConv2d(channels, (taps, 1), dilation=dilation)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, u: Tensor) -> Tensor:
        small = self.small_vertical(self.small_horizontal(u))
        return u * self.mix(self.vertical(self.horizontal(small)))


class LargeKernelAttention(nn.Module):
    """Attention with its norm, its scale and both shortcuts: the first equation above.

    Args:
        channels: Channels C.
        gate: The gate, ``SDLSKA`` or ``LSKA``.
        layer_scale: Initial value of g.
        norm_cfg: Config of the norm.

    Shape:
        (N, C, H, W), the same out
    """

    def __init__(
        self,
        channels: int,
        gate: nn.Module,
        *,
        layer_scale: float = 0.01,
        norm_cfg: dict | None = None,
    ):
        super().__init__()
        self.norm = build_norm(norm_cfg, channels)
        self.project_in = nn.Conv2d(channels, channels, 1)
        self.gate = gate
        self.project_out = nn.Conv2d(channels, channels, 1)
        self.scale = nn.Parameter(torch.full((channels,), float(layer_scale)))

    def forward(self, x: Tensor) -> Tensor:
        z = self.norm(x)
        attended = self.project_out(self.gate(F.gelu(self.project_in(z))))
        return x + self.scale[:, None, None] * (z + attended)

    def fused(self) -> nn.Module:
        norm, scale = affine_of(self.norm), self.scale.detach().double()
        fused = FusedLargeKernelAttention()
        fused.project_in = fold_before(norm, self.project_in)
        fused.gate = self.gate
        fused.project_out = fold_after(self.project_out, Affine(scale, scale * norm.shift))
        shortcut = (1 + scale * norm.scale)[:, None, None]
        fused.register_buffer("shortcut", shortcut.to(self.scale.dtype))
        return fuse_children(fused)


class FusedLargeKernelAttention(nn.Module):
    """``LargeKernelAttention`` in the fused model; its ``fused()`` sets the layers."""

    def forward(self, x: Tensor) -> Tensor:
        attended = self.project_out(self.gate(F.gelu(self.project_in(x))))
        return torch.addcmul(attended, x, self.shortcut)
