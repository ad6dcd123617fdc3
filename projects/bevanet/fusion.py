"""Fusion of BEVANet's branches (ICIP 2025, arXiv:2508.07300).

The semantic branch z guides the detail branch x twice, as in PIDNet (arXiv:2206.02066):

    y = BN(1x1 z);   s = sigmoid(sum_c BN(1x1 x) up(BN(1x1 y)));   x <- (1 - s) x + s up(y)

The last fusion is guided by the boundary branch (BGAF). With detail p, semantic i and boundary d,

    e = sigmoid(d),  p' = BRC(p),  i' = BRC(i);   out = BRC(e p' + (1 - e) i' + p' + i')

where BRC is batch norm, ReLU, 3x3 convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.folding import Affine, affine_of, fold_after
from mmattn.layers.fuse import fuse_children

from .conv_blocks import ConvNorm, NormReLUConv


def resize(x: Tensor, like: Tensor) -> Tensor:
    """Resize ``x`` bilinearly to the height and width of ``like``."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


class SemanticGuide(nn.Module):
    """The detail feature map, moved towards the semantic one where the two agree.

    Args:
        channels: Channels C of the detail feature map.
        semantic_channels: Channels D of the semantic feature map.
        hidden_channels: Channels of the embeddings that measure agreement.
        norm_cfg: Config of the norms.

    Shape:
        - detail: (N, C, H, W)
        - semantic: (N, D, h, w), any size
        - output: (N, C, H, W)
    """

    def __init__(
        self,
        channels: int,
        semantic_channels: int,
        hidden_channels: int,
        *,
        norm_cfg: dict | None = None,
    ):
        super().__init__()
        self.compress = ConvNorm(semantic_channels, channels, 1, norm_cfg=norm_cfg)
        self.embed_detail = ConvNorm(channels, hidden_channels, 1, norm_cfg=norm_cfg)
        self.embed_semantic = ConvNorm(channels, hidden_channels, 1, norm_cfg=norm_cfg)

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        semantic = self.compress(semantic)
        ours, theirs = self.embed_detail(detail), resize(self.embed_semantic(semantic), detail)
        share = (ours * theirs).sum(1, keepdim=True).sigmoid()  # (N, 1, H, W)
        # Not torch.lerp: under autocast the detail feature map is float32, from a layer norm.
        return detail + share * (resize(semantic, detail) - detail)


class BGAF(nn.Module):
    """Boundary-guided adaptive fusion of three feature maps of one size.

    Args:
        channels: Channels C.
        norm_cfg: Config of the norms.

    Shape:
        - detail, semantic, boundary: (N, C, H, W)
        - output: (N, C, H, W)
    """

    def __init__(self, channels: int, *, norm_cfg: dict | None = None):
        super().__init__()
        self.detail = NormReLUConv(channels, channels, 3, norm_cfg=norm_cfg)
        self.semantic = NormReLUConv(channels, channels, 3, norm_cfg=norm_cfg)
        self.out = NormReLUConv(channels, channels, 3, norm_cfg=norm_cfg)

    def forward(self, detail: Tensor, semantic: Tensor, boundary: Tensor) -> Tensor:
        detail, semantic = self.detail(detail), self.semantic(semantic)
        return self.out(torch.lerp(semantic, detail, boundary.sigmoid()) + detail + semantic)

    def fused(self) -> nn.Module:
        # p' and i' come with weights 1 + e and 2 - e, whose sum is 3.
        scale, shift = affine_of(self.out.norm)
        for branch in (self.detail, self.semantic):
            branch.conv = fold_after(branch.conv, Affine(scale, shift / 3))
        self.out.norm = nn.Identity()
        return fuse_children(self)
