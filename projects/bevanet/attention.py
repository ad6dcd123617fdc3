"""BEVANet's large-kernel attention (ICIP 2025, arXiv:2508.07300), and the form its DLKPPM has.

    A(z) = z + P2(gate(GELU(P1 z))),   gate(u) = u * 1x1(a(u))      P1, P2: 1x1

SDLSKA, sparsely decomposed large separable kernel attention: strips side by side,

    s = DW5x5(u);   h = DW1xn(s), v = DWnx1(s) with dilation r;   a = CKS(s, h, v)

so a position sees a cross, 35x5 and 5x35 for n = 11 and r = 3: 325 pixels of the 35x35.
LSKA (Lau et al., arXiv:2309.01439), one strip after the other, sees the whole square:

    a = DWnx1(DW1xn(DW5x1(DW1x5(u)))), the last two with dilation r

All convolutions have biases. A adds its own input, which is already normalised.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.errors import did_you_mean
from mmattn.layers.depthwise import DepthwiseConv2d

from .kernel_selection import CKS


class Strips(NamedTuple):
    """How a large kernel is decomposed: a dense kernel, then strips of dilated taps."""

    dense: int
    taps: int
    dilation: int


# Side of the kernel -> its parts: side = dense + dilation * (taps - 1).
STRIPS = {7: Strips(3, 3, 2), 11: Strips(3, 5, 2), 23: Strips(5, 7, 3), 35: Strips(5, 11, 3)}


def strips_of(kernel_size: int) -> Strips:
    """The decomposition of a kernel of this side.

    Raises:
        ValueError: There is none.
    """
    if kernel_size not in STRIPS:
        known = ", ".join(map(str, STRIPS))
        hint = did_you_mean(str(kernel_size), map(str, STRIPS))
        raise ValueError(f"kernel_size must be one of {known}, got {kernel_size!r}.{hint}")
    return STRIPS[kernel_size]


class SDLSKA(nn.Module):
    """A gate whose receptive field is a cross of two strips, side by side.

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


class SpatialAttention(nn.Module):
    """``A`` above: a gate between two 1x1 convolutions, and the shortcut around them.

    Args:
        channels: Channels C.
        gate: The gate, ``SDLSKA`` or ``LSKA``.

    Shape:
        (N, C, H, W), the same out
    """

    def __init__(self, channels: int, gate: nn.Module):
        super().__init__()
        self.project_in = nn.Conv2d(channels, channels, 1)
        self.gate = gate
        self.project_out = nn.Conv2d(channels, channels, 1)

    def forward(self, z: Tensor) -> Tensor:
        return z + self.project_out(self.gate(F.gelu(self.project_in(z))))
