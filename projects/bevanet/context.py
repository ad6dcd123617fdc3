"""Deep large-kernel pyramid pooling (DLKPPM; BEVANet, ICIP 2025, arXiv:2508.07300).

Every "BRC" below is batch norm, ReLU, convolution. With up() bilinear to the input's size:

    y0 = BRC(x)                     y3 = P3(L + y2),  L = attention(y0) with LSKA 35
    y1 = P1(up(BRC(pool5 x)) + y0)  y4 = P4(up(BRC(mean over 2x2 x)) + y3)
    y2 = P2(up(BRC(pool9 x)) + y1)  y5 = P5(up(BRC(mean x)) + y4)
    y  = BRC(concat(y0 ... y5)) + BRC(x)

pool5 and pool9 average 5x5 with stride 2 and 9x9 with stride 4, counting the padding. P are 3x3
BRC, P1 and P2 with dilation 2; the others are 1x1.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.folding import Affine, fold_after

from .attention import LSKA, LargeKernelAttention
from .conv_blocks import NormReLUConv


class DLKPPM(nn.Module):
    """Pyramid pooling with large-kernel attention in one of its branches.

    Args:
        in_channels: Channels of the input.
        branch_channels: Channels of every branch.
        out_channels: Channels of the output.
        kernel_size: Side of the attention's kernel.
        layer_scale: Initial value of g.
        norm_cfg: Config of the norms.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W)
    """

    def __init__(
        self,
        in_channels: int,
        branch_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 35,
        layer_scale: float = 0.01,
        norm_cfg: dict | None = None,
    ):
        super().__init__()
        brc = partial(NormReLUConv, norm_cfg=norm_cfg)
        self.identity = brc(in_channels, branch_channels, 1)
        self.pool5 = brc(in_channels, branch_channels, 1)
        self.pool9 = brc(in_channels, branch_channels, 1)
        self.attention = LargeKernelAttention(
            branch_channels,
            LSKA(branch_channels, kernel_size),
            layer_scale=layer_scale,
            norm_cfg=norm_cfg,
        )
        self.mean2 = brc(in_channels, branch_channels, 1)
        self.mean1 = brc(in_channels, branch_channels, 1)
        dilations = (2, 2, 1, 1, 1)
        self.process = nn.ModuleList(
            brc(branch_channels, branch_channels, 3, dilation=dilation) for dilation in dilations
        )
        self.compress = brc(6 * branch_channels, out_channels, 1)
        self.shortcut = brc(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.identity(x)
        up = partial(F.interpolate, size=x.shape[2:], mode="bilinear", align_corners=False)
        branches = (
            up(self.pool5(F.avg_pool2d(x, 5, 2, 2))),
            up(self.pool9(F.avg_pool2d(x, 9, 4, 4))),
            self.attention(first),
            up(self.mean2(F.adaptive_avg_pool2d(x, 2))),
            self.mean1(x.mean((2, 3), keepdim=True)),  # one value: the sum broadcasts it
        )
        scales = [first]
        for branch, process in zip(branches, self.process, strict=True):
            scales.append(process(branch + scales[-1]))
        return self.compress(torch.cat(scales, 1)) + self.shortcut(x)

    def absorb(self, affine: Affine) -> None:
        """Fold ``affine``, applied to the output, into the last convolutions; only once."""
        without_shift = Affine(affine.scale, torch.zeros_like(affine.shift))
        self.compress.conv = fold_after(self.compress.conv, affine)
        self.shortcut.conv = fold_after(self.shortcut.conv, without_shift)
