"""Comprehensive kernel selection (CKS; BEVANet, ICIP 2025, arXiv:2508.07300).

Three feature maps with growing receptive fields, small s, horizontal h and vertical v, are weighted
by gates per channel and gates per position, all computed from their sum t:

    c_j = sigmoid(relu(E_j(R(mean_yx t)))),   j in s, h, v         R: C -> q, E_j: q -> C
    (p_s, p_h, p_v) = sigmoid(conv7x7[mean_c t, max_c t])
    a = sum_j c_j p_j j

R and E_j are [1x1 convolution, 3x3 depthwise, batch norm, ReLU], q = max(C // 16, 32). The gates
are independent, no softmax runs across the branches, and the ReLU keeps c_j in [0.5, 1). On a
1x1 feature map only the centre of the 3x3 kernels counts; the other taps get no gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.depthwise import DepthwiseConv2d
from mmattn.layers.folding import Affine, affine_of, fold_after

from .conv_blocks import build_norm

_BRANCHES = ("small", "horizontal", "vertical")


class GateLayer(nn.Module):
    """1x1 convolution, 3x3 depthwise convolution, batch norm, ReLU, on one value per channel.

    Shape:
        (N, in_channels, 1, 1) -> (N, out_channels, 1, 1)
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm_cfg: dict | None = None):
        super().__init__()
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)
        self.depthwise = DepthwiseConv2d(out_channels, 3)
        self.norm = build_norm(norm_cfg, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.depthwise(self.pointwise(x))))

    def fused(self) -> nn.Sequential:
        centre = self.depthwise.weight.detach().double()[:, 0, 1, 1]
        depthwise = Affine(centre, self.depthwise.bias.detach().double())
        conv = fold_after(fold_after(self.pointwise, depthwise), affine_of(self.norm))
        return nn.Sequential(conv, nn.ReLU(inplace=True))


class CKS(nn.Module):
    """Sum of three feature maps, each weighted per channel and per position.

    Args:
        channels: Channels C of the feature maps.
        norm_cfg: Config of the norms.

    Shape:
        - small, horizontal, vertical: (N, C, H, W)
        - output: (N, C, H, W)
    """

    def __init__(self, channels: int, *, norm_cfg: dict | None = None):
        super().__init__()
        hidden = max(channels // 16, 32)
        self.reduce = GateLayer(channels, hidden, norm_cfg=norm_cfg)
        self.expand = nn.ModuleDict(
            {name: GateLayer(hidden, channels, norm_cfg=norm_cfg) for name in _BRANCHES}
        )
        self.spatial = nn.Conv2d(2, len(_BRANCHES), 7, padding=3)

    def forward(self, small: Tensor, horizontal: Tensor, vertical: Tensor) -> Tensor:
        total = small + horizontal + vertical
        hidden = self.reduce(total.mean((2, 3), keepdim=True))  # (N, q, 1, 1)
        channel = [self.expand[name](hidden).sigmoid() for name in _BRANCHES]
        pooled = torch.cat([total.mean(1, keepdim=True), _largest(total)], 1)
        position = self.spatial(pooled).sigmoid().split(1, dim=1)  # three times (N, 1, H, W)
        branches = (small, horizontal, vertical)
        return sum(b * c * p for b, c, p in zip(branches, channel, position, strict=True))


def _largest(x: Tensor) -> Tensor:
    """Return the largest value over the channels. Shape (N, C, H, W) -> (N, 1, H, W).

    ``amax`` is faster, but its gradient is split among equal values, which are frequent in
    bfloat16; that of ``max`` goes to one of them, as in the authors' code.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        return x.max(1, keepdim=True).values
    return x.amax(1, keepdim=True)
