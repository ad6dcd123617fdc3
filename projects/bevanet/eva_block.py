"""The efficient visual attention block of BEVANet (ICIP 2025, arXiv:2508.07300).

    x <- x + g1 A(BN(x))                                 large-kernel attention, attention.py
    x <- x + g2 M(BN(x)),   M = 1x1(C -> 4C), DW3x3, GELU, 1x1(4C -> C)

g1 and g2 scale channels and start at 0.01.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.checks import require_at_least
from mmattn.layers.depthwise import DepthwiseConv2d
from mmattn.layers.folding import Affine, affine_of, fold_after, fold_before
from mmattn.registry import MODELS

from .attention import SDLSKA, LargeKernelAttention
from .conv_blocks import build_norm


class ConvFFN(nn.Module):
    """Feed-forward network with its norm, its scale and its shortcut: the second equation above.

    Args:
        channels: Channels C.
        expansion: Ratio of hidden channels to C.
        layer_scale: Initial value of g2.
        norm_cfg: Config of the norm.

    Shape:
        (N, C, H, W), the same out
    """

    def __init__(
        self,
        channels: int,
        *,
        expansion: int = 4,
        layer_scale: float = 0.01,
        norm_cfg: dict | None = None,
    ):
        super().__init__()
        hidden = channels * expansion
        self.norm = build_norm(norm_cfg, channels)
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.depthwise = DepthwiseConv2d(hidden, 3)
        self.reduce = nn.Conv2d(hidden, channels, 1)
        self.scale = nn.Parameter(torch.full((channels,), float(layer_scale)))

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(F.gelu(self.depthwise(self.expand(self.norm(x)))))
        return x + self.scale[:, None, None] * y

    def fused(self) -> nn.Module:
        scale = self.scale.detach().double()
        fused = FusedConvFFN()
        fused.expand = fold_before(affine_of(self.norm), self.expand)
        fused.depthwise = self.depthwise
        fused.reduce = fold_after(self.reduce, Affine(scale, torch.zeros_like(scale)))
        return fused


class FusedConvFFN(nn.Module):
    """``ConvFFN`` in the fused model; its ``fused()`` sets the layers."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.reduce(F.gelu(self.depthwise(self.expand(x))))


@MODELS.register_module()
class EVABlock(nn.Module):
    """Large-kernel attention and a convolutional feed-forward network.

    Args:
        in_channels: Channels C.
        kernel_size: Side of the attention's cross: 7, 11, 23 or 35.
        expansion: Ratio of the feed-forward network's hidden channels to C.
        layer_scale: Initial value of g1 and g2.
        norm_cfg: Config of the batch norms.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Example:
        >>> import torch
        >>> EVABlock(16, kernel_size=23).eval()(torch.ones(1, 16, 9, 12)).shape
        torch.Size([1, 16, 9, 12])
    """

    def __init__(
        self,
        in_channels: int,
        *,
        kernel_size: int = 35,
        expansion: int = 4,
        layer_scale: float = 0.01,
        norm_cfg: dict | None = None,
    ):
        super().__init__()
        require_at_least(1, in_channels=in_channels, expansion=expansion)
        self.layer_scale = layer_scale
        gate = SDLSKA(in_channels, kernel_size, norm_cfg=norm_cfg)
        self.attention = LargeKernelAttention(in_channels, gate, norm_cfg=norm_cfg)
        self.mlp = ConvFFN(in_channels, expansion=expansion, norm_cfg=norm_cfg)
        self.init_weights()

    def init_weights(self) -> None:
        """Set the initial state; mmengine calls this method when it initialises a network."""
        nn.init.constant_(self.attention.scale, self.layer_scale)
        nn.init.constant_(self.mlp.scale, self.layer_scale)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(self.attention(x))
