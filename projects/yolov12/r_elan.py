"""R-ELAN, the residual efficient layer aggregation network of YOLOv12 (arXiv:2502.12524).

    A2C2f(x) = [x + g] Conv1x1([y0, ..., yn]),  y0 = Conv1x1(x),  yi = Ui(yi-1)

A unit U is two blocks of area attention, or C3k. The shortcut, with g a scale of each channel that
starts at 0.01, exists in the two large networks alone; the smaller ones have neither.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmattn.layers.checks import require_at_least

from .area_attention import AreaAttention, init_attention_weights
from .conv_blocks import C3k, Conv


class ABlock(nn.Module):
    """Area attention and a feed-forward network of 1x1 convolutions, each with its shortcut.

    Args:
        in_channels: Channels C, a multiple of 32.
        areas: Number of areas.
        mlp_ratio: Ratio of the feed-forward network's hidden channels to C.
        layout: Layout of the attention.
        qk_norm: Whether q and k are normalised.
        norm_cfg: Config of the batch norms.

    Shape:
        (N, C, H, W) -> (N, C, H, W)
    """

    def __init__(
        self,
        in_channels: int,
        *,
        areas: int = 4,
        mlp_ratio: float = 2.0,
        layout: str = "turbo",
        qk_norm: bool = False,
        norm_cfg: dict | None = None,
    ):
        super().__init__()
        self.attention = AreaAttention(
            in_channels, areas=areas, layout=layout, qk_norm=qk_norm, norm_cfg=norm_cfg
        )
        hidden = int(in_channels * mlp_ratio)
        require_at_least(1, hidden_channels=hidden)
        self.mlp = nn.Sequential(
            Conv(in_channels, hidden, norm_cfg=norm_cfg),
            Conv(hidden, in_channels, activation=False, norm_cfg=norm_cfg),
        )
        init_attention_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(x)
        return x + self.mlp(x)


class A2C2f(nn.Module):
    """A chain of units, all of whose outputs reach the last convolution, around a shortcut.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output; with attention, half of them must be a multiple of 32.
        num_units: Length n of the chain.
        areas: Number of areas of the attention; None for units of C3k, without attention.
        residual_scale: Initial value of g; None for no shortcut.
        mlp_ratio, layout, qk_norm: As in ``ABlock``.
        norm_cfg: Config of the batch norms.

    Raises:
        ValueError: ``residual_scale`` is given where input and output differ in channels or without
            attention, ``areas`` is less than 1, or channels do not make whole heads.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        num_units: int = 1,
        areas: int | None = 4,
        residual_scale: float | None = None,
        mlp_ratio: float = 2.0,
        layout: str = "turbo",
        qk_norm: bool = False,
        norm_cfg: dict | None = None,
    ):
        super().__init__()
        require_at_least(1, in_channels=in_channels, num_units=num_units, areas=areas)
        if residual_scale is not None and (in_channels != out_channels or areas is None):
            raise ValueError(
                "residual_scale needs attention and as many channels out as in, got areas="
                f"{areas}, {in_channels} channels in and {out_channels} out"
            )
        hidden = out_channels // 2
        self.reduce = Conv(in_channels, hidden, norm_cfg=norm_cfg)

        def unit() -> nn.Module:
            if areas is None:
                return C3k(hidden, norm_cfg=norm_cfg)
            blocks = (
                ABlock(
                    hidden,
                    areas=areas,
                    mlp_ratio=mlp_ratio,
                    layout=layout,
                    qk_norm=qk_norm,
                    norm_cfg=norm_cfg,
                )
                for _ in range(2)
            )
            return nn.Sequential(*blocks)

        self.units = nn.ModuleList(unit() for _ in range(num_units))
        self.merge = Conv((1 + num_units) * hidden, out_channels, norm_cfg=norm_cfg)
        self.register_parameter("gamma", None)
        if residual_scale is not None:
            self.gamma = nn.Parameter(torch.full((out_channels,), float(residual_scale)))

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.reduce(x)]
        for unit in self.units:
            maps.append(unit(maps[-1]))
        y = self.merge(torch.cat(maps, 1))
        return y if self.gamma is None else x + self.gamma[:, None, None] * y
