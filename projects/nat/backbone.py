"""NAT (CVPR 2023, arXiv:2204.07143) and DiNAT (arXiv:2209.15001): transformers of neighborhoods.

    stem       two 3x3 convolutions of stride 2, norm        C, 1/4
    level i    blocks;  3x3 convolution of stride 2, norm    C 2^i, 1 / 2^(i + 2)
    block      x + g1 NA(LN x);  x + g2 MLP(LN x)

Maps are channels-last throughout. The scales g are left out in the smaller networks. DiNAT is NAT
with dilations: every second block of a level sees far, the others near.

Differs from the authors' code: dilations are clipped by the size of the map, not padded to, unless
``small_map="pad"`` (see ``attention.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmattn.layers.checks import require_at_least
from mmattn.layers.initial import init_transformer_layers
from mmattn.registry import MODELS

from .attention import NeighborhoodAttention


class ConvStem(nn.Module):
    """An image (N, 3, H, W) to a map (N, H/4, W/4, C)."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.proj = nn.Sequential(
            nn.Conv2d(in_channels, channels // 2, 3, stride=2, padding=1),
            nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1),
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class ConvDownsample(nn.Module):
    """A map (N, H, W, C) to one of half its size, (N, H/2, W/2, 2 C)."""

    def __init__(self, channels: int):
        super().__init__()
        self.reduction = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False)
        self.norm = nn.LayerNorm(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.reduction(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class MLP(nn.Module):
    """Two layers with a GELU between, on the last axis."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class NATBlock(nn.Module):
    """Attention and MLP, each behind a norm and beside a shortcut, on (N, H, W, C).

    Args:
        channels: Channels C.
        attention: The attention.
        mlp_ratio: Hidden channels of the MLP, over C.
        drop_path: Probability that a branch is left out in training.
        layer_scale: Initial value of the scales g; None leaves them out.
    """

    def __init__(
        self,
        channels: int,
        attention: NeighborhoodAttention,
        *,
        mlp_ratio: float,
        drop_path: float,
        layer_scale: float | None,
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn = attention
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels, int(channels * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.layer_scale = layer_scale
        if layer_scale is not None:
            self.gamma1 = nn.Parameter(torch.full((channels,), float(layer_scale)))
            self.gamma2 = nn.Parameter(torch.full((channels,), float(layer_scale)))

    def forward(self, x: Tensor) -> Tensor:
        attended = self.attn.attend(self.norm1(x))
        if self.layer_scale is not None:
            attended = self.gamma1 * attended
        x = x + self.drop_path(attended)
        hidden = self.mlp(self.norm2(x))
        if self.layer_scale is not None:
            hidden = self.gamma2 * hidden
        return x + self.drop_path(hidden)


class NATLevel(nn.Module):
    """Blocks at one size, and the way to the next one if there is one."""

    def __init__(self, blocks: Sequence[NATBlock], downsample: nn.Module | None):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor, *, with_cp: bool) -> Tensor:
        """The blocks alone: the map of this level. Shape (N, H, W, C) -> the same."""
        for block in self.blocks:
            if with_cp and x.requires_grad:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return x


def _alternating(depths: Sequence[int], far: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return dilations of 1 and, in every second block, ``far`` of the level."""
    return tuple(
        tuple(dilation if number % 2 else 1 for number in range(depth))
        for depth, dilation in zip(depths, far, strict=True)
    )


def _variants() -> dict[str, dict[str, Any]]:
    short, long = (3, 4, 6, 5), (3, 4, 18, 5)
    sizes: dict[str, dict[str, Any]] = {
        "Mini": {"channels": 64, "depths": short, "mlp_ratio": 3, "drop_path_rate": 0.2},
        "Tiny": {"channels": 64, "depths": long, "mlp_ratio": 3, "drop_path_rate": 0.2},
        "Small": {"channels": 96, "depths": long, "mlp_ratio": 2, "drop_path_rate": 0.3},
        "Base": {"channels": 128, "depths": long, "mlp_ratio": 2, "drop_path_rate": 0.5},
    }
    variants = {}
    for name, arguments in sizes.items():
        heads = tuple(arguments["channels"] // 32 << level for level in range(4))
        arguments["num_heads"] = heads
        scaled = name in ("Small", "Base")
        variants[f"NAT-{name}"] = {**arguments, "layer_scale": 1e-5 if scaled else None}
        dilations = _alternating(arguments["depths"], (8, 4, 2, 1))
        variants[f"DiNAT-{name}"] = {
            **arguments,
            "dilations": dilations,
            "layer_scale": 1e-5 if name == "Base" else None,
        }
    variants["DiNAT-Large"] = {
        **variants["DiNAT-Small"],
        "channels": 192,
        "num_heads": (6, 12, 24, 48),
    }
    return variants


@MODELS.register_module()
class NAT(BaseModule):
    """NAT's and DiNAT's backbone: an image to the feature maps of its levels.

    The names of the weights are the authors'. Their files for ImageNet load as they are; the norms
    of the returned maps, ``norm0`` to ``norm3``, are new there.

    Args:
        channels: C, the channels of the first level; doubled from level to level.
        depths: Number of blocks of each level.
        num_heads: Heads of each level's attention.
        kernel_size: Side of the neighborhoods, odd.
        dilations: Dilations of each level's blocks; all 1 by default. Those of ``variants`` are for
            images of 224 x 224.
        mlp_ratio: Hidden channels of the MLPs, over the level's channels.
        drop_path_rate: Probability that the last branch is left out in training; those before it
            rise to it from 0.
        layer_scale: Initial value of the scales g; None leaves them out.
        in_channels: Channels of the image.
        out_indices: Levels whose maps are returned, from 0.
        small_map: As in ``NeighborhoodAttention``; ``"pad"`` for the authors' weights where k e is
            larger than the map.
        frozen_stages: Number of levels to freeze, with the stem; -1 freezes nothing, 0 the stem.
        with_cp: Compute blocks a second time in the backward pass instead of keeping them.
        init_cfg: mmengine's initialisation; by default the constructor's weights are kept.

    Attributes:
        variants: Arguments of the published networks, ``"NAT-Mini"`` to ``"DiNAT-Large"``.

    Shape:
        (N, in_channels, H, W) -> tuple of (N, C 2^i, H / 2^(i + 2), W / 2^(i + 2))

    Raises:
        ValueError: Numbers do not fit each other or are out of their range.

    Example:
        >>> import torch
        >>> maps = NAT(**NAT.variants["DiNAT-Mini"])(torch.zeros(1, 3, 64, 96))
        >>> [tuple(m.shape) for m in maps]
        [(1, 64, 16, 24), (1, 128, 8, 12), (1, 256, 4, 6), (1, 512, 2, 3)]
    """

    variants: ClassVar[dict[str, dict[str, Any]]] = _variants()

    def __init__(
        self,
        *,
        channels: int,
        depths: Sequence[int],
        num_heads: Sequence[int],
        kernel_size: int = 7,
        dilations: Sequence[Sequence[int]] | None = None,
        mlp_ratio: float = 3,
        drop_path_rate: float = 0.0,
        layer_scale: float | None = None,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        small_map: str = "clip",
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        require_at_least(1, channels=channels, depths=min(depths), in_channels=in_channels)
        if dilations is None:
            dilations = [[1] * depth for depth in depths]
        if len(num_heads) != len(depths) or [len(d) for d in dilations] != list(depths):
            raise ValueError(
                "num_heads and dilations must have one entry for each level, and dilations one for "
                f"each block: depths={tuple(depths)}, num_heads={tuple(num_heads)}, dilations of "
                f"{tuple(len(d) for d in dilations)} blocks"
            )
        if any(not 0 <= index < len(depths) for index in out_indices):
            raise ValueError(
                f"out_indices must be levels 0 to {len(depths) - 1}, got {tuple(out_indices)}"
            )
        if not -1 <= frozen_stages <= len(depths):
            raise ValueError(f"frozen_stages must be -1 to {len(depths)}, got {frozen_stages}")
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.with_cp = with_cp
        self.patch_embed = ConvStem(in_channels, channels)
        last = max(sum(depths) - 1, 1)
        rates = iter([drop_path_rate * number / last for number in range(sum(depths))])
        levels = []
        for number, heads in enumerate(num_heads):
            width = channels << number
            blocks = [
                NATBlock(
                    width,
                    NeighborhoodAttention(
                        width,
                        num_heads=heads,
                        kernel_size=kernel_size,
                        dilation=dilation,
                        small_map=small_map,
                    ),
                    mlp_ratio=mlp_ratio,
                    drop_path=next(rates),
                    layer_scale=layer_scale,
                )
                for dilation in dilations[number]
            ]
            ends = number == len(depths) - 1
            levels.append(NATLevel(blocks, None if ends else ConvDownsample(width)))
        self.levels = nn.ModuleList(levels)
        for index in self.out_indices:
            self.add_module(f"norm{index}", nn.LayerNorm(channels << index))
        init_transformer_layers(*(m for m in self.modules() if isinstance(m, nn.Linear)))
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Shape (N, in_channels, H, W) -> a tuple of (N, channels, h, w), channels-last."""
        x = self.patch_embed(x)
        maps = []
        for index, level in enumerate(self.levels):
            x = level(x, with_cp=self.with_cp)
            if index in self.out_indices:
                maps.append(self.get_submodule(f"norm{index}")(x).permute(0, 3, 1, 2))
            downsample = level.downsample
            if isinstance(downsample, nn.Module):
                x = downsample(x)
        return tuple(maps)

    def train(self, mode: bool = True) -> NAT:
        """Set the mode of all modules but the frozen ones, which stay in eval mode."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def _freeze(self) -> None:
        for module in self._frozen_modules():
            module.eval()
            module.requires_grad_(False)

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        count = self.frozen_stages
        norms = [f"norm{index}" for index in self.out_indices if index < count]
        return [self.patch_embed, *self.levels[:count], *map(self.get_submodule, norms)]
