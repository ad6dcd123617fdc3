"""Mask2Former's pixel decoder: deformable attention over three levels, then one step of FPN.

    S = [norm(conv 1x1 (C5)), …(C4), …(C3)], the pixels of all levels in one row
    six times:  S = LN(S + attention(S));  S = LN(S + W_2 relu(W_1 S))
    F = conv 1x1 (relu(norm(conv 3x3 (norm(conv 1x1 (C2)) + resize(S_3)))))
Masks are products with F, at the resolution of C2; S goes to the transformer decoder, level by
level. Every norm of feature maps is a group norm with 32 groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mmattn.layers.precision import run_in_float32

from .deformable_attention import DeformableSelfAttention, pixel_centres
from .feed_forward import FeedForward
from .positions import sine_positions

_GROUPS = 32


class PixelDecoder(nn.Module):
    """Mix a feature pyramid; weights have the names of mmdet's ``MSDeformAttnPixelDecoder``.

    Args:
        in_channels: Channels of the pyramid, from high to low resolution.
        channels: Channels C of all results.
        num_heads: Heads of the attention.
        num_levels: Levels of the lowest resolutions that attention mixes; the others are added to
            them as in a feature pyramid network.
        num_layers: Layers of attention.
        ffn_channels: Channels between the linear layers behind each attention.
        num_points: Points that a head reads of each level.
        recompute: Compute each layer once more in the backward pass in place of keeping what is in
            it. At 512 x 512 that saves 360 MB an image, of 1270 with a ResNet-50 around, and a step
            takes a tenth longer on a CPU (``benchmarks/mask_heads.py``).

    Shape:
        - features: (B, in_channels[i], H_i, W_i)
        - output: mask features (B, C, H_0, W_0), float32 and channels-last; memories, a list of
          (B, H_l W_l, C) from low to high resolution; and their heights and widths
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        *,
        num_heads: int = 8,
        num_levels: int = 3,
        num_layers: int = 6,
        ffn_channels: int = 1024,
        num_points: int = 4,
        recompute: bool = True,
    ):
        super().__init__()
        self.num_levels = num_levels
        norm: dict[str, Any] = {"norm_cfg": {"type": "GN", "num_groups": _GROUPS}}
        self.input_convs = nn.ModuleList(
            ConvModule(count, channels, 1, bias=True, act_cfg=None, **norm)
            for count in reversed(in_channels[-num_levels:])
        )
        self.encoder = _Encoder(
            _EncoderLayer(
                DeformableSelfAttention(channels, num_heads, num_levels, num_points),
                FeedForward(channels, ffn_channels),
                channels,
            )
            for _ in range(num_layers)
        )
        self.encoder.recompute = recompute
        self.level_encoding = nn.Embedding(num_levels, channels)
        finer = in_channels[:-num_levels]
        self.lateral_convs = nn.ModuleList(
            ConvModule(count, channels, 1, bias=False, act_cfg=None, **norm) for count in finer
        )
        self.output_convs = nn.ModuleList(
            ConvModule(channels, channels, 3, padding=1, bias=False, **norm) for _ in finer
        )
        self.mask_feature = nn.Conv2d(channels, channels, 1)

    def init_weights(self) -> None:
        """Initialise as the authors: uniform Xavier in front, the same bounds in the FPN."""
        for conv in self.input_convs:
            nn.init.xavier_uniform_(conv.get_parameter("conv.weight"))
            nn.init.zeros_(conv.get_parameter("conv.bias"))
        for conv in (*self.lateral_convs, *self.output_convs):
            nn.init.kaiming_uniform_(conv.get_parameter("conv.weight"), a=1)
        nn.init.kaiming_uniform_(self.mask_feature.weight, a=1)
        nn.init.zeros_(self.mask_feature.get_parameter("bias"))
        nn.init.normal_(self.level_encoding.weight)
        for module in self.encoder.modules():
            if isinstance(module, (DeformableSelfAttention, FeedForward)):
                module.init_weights()

    def forward(
        self, features: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor], list[tuple[int, int]]]:
        coarse = list(reversed(features[-self.num_levels :]))
        maps = [conv(x) for conv, x in zip(self.input_convs, coarse, strict=True)]
        shapes = [(x.shape[2], x.shape[3]) for x in maps]
        tokens = torch.cat([x.flatten(2).transpose(1, 2) for x in maps], dim=1)
        positions = torch.cat(
            [
                sine_positions(height, width, tokens.shape[2], tokens.device) + level
                for (height, width), level in zip(shapes, self.level_encoding.weight, strict=True)
            ]
        )
        tokens = self.encoder(tokens, positions, pixel_centres(shapes, tokens.device), shapes)
        memories = list(tokens.split([height * width for height, width in shapes], dim=1))
        x = memories[-1].transpose(1, 2).unflatten(2, shapes[-1])
        finer = features[: -self.num_levels]
        for index in reversed(range(len(finer))):
            lateral = self.lateral_convs[index](finer[index])
            x = lateral + F.interpolate(x, lateral.shape[2:], mode="bilinear", align_corners=False)
            x = self.output_convs[index](x)
        return run_in_float32(_PixelProduct(self.mask_feature), x), memories, shapes


class _PixelProduct(nn.Module):
    """A 1x1 convolution whose result lies pixel by pixel: points are read as rows of it."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.flatten(2).transpose(1, 2)
        pixels = F.linear(pixels, self.conv.weight.flatten(1), self.conv.bias)
        return pixels.transpose(1, 2).unflatten(2, x.shape[2:])


class _EncoderLayer(nn.Module):
    """Attention and feed-forward layers, each added to its input and normalised after."""

    def __init__(self, self_attn: DeformableSelfAttention, ffn: FeedForward, channels: int):
        super().__init__()
        self.self_attn = self_attn
        self.ffn = ffn
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        reference: Tensor,
        shapes: Sequence[tuple[int, int]],
    ) -> Tensor:
        x = self.norms[0](x + self.self_attn(x, positions, reference, shapes))
        return self.norms[1](x + self.ffn(x))


class _Encoder(nn.Module):
    """A row of layers."""

    recompute = False

    def __init__(self, layers: Iterable[nn.Module]):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        reference: Tensor,
        shapes: Sequence[tuple[int, int]],
    ) -> Tensor:
        for layer in self.layers:
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(layer, x, positions, reference, shapes, use_reentrant=False)
            else:
                x = layer(x, positions, reference, shapes)
        return x
