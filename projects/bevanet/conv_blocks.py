"""The convolutional blocks that BEVANet's stages and heads are made of."""

from __future__ import annotations

import torch
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.batch_norm import LenientBatchNorm2d
from mmattn.layers.folding import Affine, affine_of, fold_after


def build_norm(norm_cfg: dict | None, channels: int) -> nn.Module:
    """Build the batch norm that ``norm_cfg`` describes.

    ``None`` and ``type='BN'`` give ``LenientBatchNorm2d``: the network pools to 1x1 maps, where
    torch's own batch norm does not train on a single image.

    Raises:
        ValueError: ``norm_cfg`` is not a batch norm, which the equations and ``fuse()`` need.
    """
    cfg = dict(norm_cfg or {"type": "BN"})
    if cfg.get("type") in ("BN", "BN2d"):
        cfg["type"] = LenientBatchNorm2d
    norm = build_norm_layer(cfg, channels)[1]
    if not isinstance(norm, nn.modules.batchnorm._BatchNorm):
        raise ValueError(f"norm_cfg must be a batch norm (BN or SyncBN), got {norm_cfg}")
    return norm


class ConvNorm(nn.Module):
    """Convolution without bias, then batch norm.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Kernel size of the convolution; padded so that stride 1 keeps the size.
        stride: Stride of the convolution.
        bias: Whether the convolution has a bias nevertheless, as in the stem.
        norm_cfg: Config of the norm.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        bias: bool = False,
        norm_cfg: dict | None = None,
    ):
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=bias
        )
        self.norm = build_norm(norm_cfg, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))

    def fused(self) -> nn.Conv2d:
        return fold_after(self.conv, affine_of(self.norm))


class NormReLUConv(nn.Module):
    """Batch norm, ReLU, then a convolution without bias, as all of DLKPPM, BGAF and the heads do.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Kernel size of the convolution; padded to keep the size.
        dilation: Dilation of the convolution.
        norm_cfg: Config of the norm.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        dilation: int = 1,
        norm_cfg: dict | None = None,
    ):
        super().__init__()
        self.norm = build_norm(norm_cfg, in_channels)
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            padding=kernel_size // 2 * dilation,
            dilation=dilation,
            bias=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(self.norm(x), inplace=True))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the first convolution and the shortcut.
        last_relu: Whether a ReLU follows the sum; the last block of a longer stage leaves it to
            the layers that read the feature map.
        norm_cfg: Config of the norms.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        last_relu: bool = True,
        norm_cfg: dict | None = None,
    ):
        super().__init__()
        self.conv1 = ConvNorm(in_channels, out_channels, 3, stride=stride, norm_cfg=norm_cfg)
        self.conv2 = ConvNorm(out_channels, out_channels, 3, norm_cfg=norm_cfg)
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = ConvNorm(in_channels, out_channels, 1, stride=stride, norm_cfg=norm_cfg)
        self.last_relu = last_relu

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x), inplace=True)) + self.shortcut(x)
        return F.relu(y, inplace=True) if self.last_relu else y


class Bottleneck(nn.Module):
    """1x1 to half the width of the output, 3x3, 1x1, around a shortcut; no last ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, even.
        norm_cfg: Config of the norms.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W)
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm_cfg: dict | None = None):
        super().__init__()
        width = out_channels // 2
        self.conv1 = ConvNorm(in_channels, width, 1, norm_cfg=norm_cfg)
        self.conv2 = ConvNorm(width, width, 3, norm_cfg=norm_cfg)
        self.conv3 = ConvNorm(width, out_channels, 1, norm_cfg=norm_cfg)
        self.shortcut = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = ConvNorm(in_channels, out_channels, 1, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv1(x), inplace=True)
        y = F.relu(self.conv2(y), inplace=True)
        return self.conv3(y) + self.shortcut(x)

    def absorb(self, affine: Affine) -> None:
        """Fold ``affine``, applied to the output, into the last convolutions; only once."""
        without_shift = Affine(affine.scale, torch.zeros_like(affine.shift))
        self.conv3 = fold_after(self.conv3.fused(), affine)
        self.shortcut = fold_after(self.shortcut.fused(), without_shift)


def basic_stage(
    in_channels: int,
    out_channels: int,
    blocks: int,
    *,
    stride: int = 1,
    last_relu: bool = True,
    norm_cfg: dict | None = None,
) -> nn.Sequential:
    """``blocks`` basic blocks, the first with ``stride``, all but the last ending in a ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of every block's output.
        blocks: Number of blocks, at least 1.
        stride: Stride of the first block.
        last_relu: Whether the last block ends in a ReLU.
        norm_cfg: Config of the norms.
    """
    return nn.Sequential(
        *(
            BasicBlock(
                in_channels if index == 0 else out_channels,
                out_channels,
                stride=stride if index == 0 else 1,
                last_relu=last_relu or index < blocks - 1,
                norm_cfg=norm_cfg,
            )
            for index in range(blocks)
        )
    )
