"""A host that compares token mixers on equal terms (Hu et al., TPAMI 2025, arXiv:2211.05781).

Gains of published mixers are mixed with gains of stems, downsampling, norms and recipes. Here all
that is fixed, and the mixer alone is exchanged. On NCHW, with layer norms over the channels,

    stem:     conv3x3 s2 (3 -> C/2), LN, GELU, conv3x3 s2 (C/2 -> C), LN          stride 4
    stage i:  blocks of C_i channels, LN;   between stages conv3x3 s2, LN
    block:    x = x + drop_path(g1 mixer(LN(x)));   x = x + drop_path(g2 MLP(LN(x)))

MLP: C -> 4C -> GELU -> C. g1 and g2, one for each channel, start at 1e-6. A mixer keeps the shape
(N, C, H, W) and brings its own projections. It pads, if it has to, so that any size works.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.checks import require_at_least
from mmattn.layers.heads import to_feature_map, to_tokens
from mmattn.layers.layer_norm import LayerNorm2d
from mmattn.registry import MODELS

#: Scale -> channels and blocks of each stage, for attention; the convolution has more blocks.
SCALES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "micro": ((32, 64, 128, 256), (2, 2, 9, 2)),
    "tiny": ((96, 192, 384, 768), (2, 2, 6, 2)),
    "small": ((96, 192, 384, 768), (2, 2, 18, 2)),
    "base": ((128, 256, 512, 1024), (2, 2, 18, 2)),
}
_EPS = 1e-6
_LAYER_SCALE = 1e-6


@MODELS.register_module()
class TokenMixerHost(BaseModule):
    """A backbone of four stages around any token mixer or attention block.

    Heads of 32 channels, the default of most blocks, are 1, 2, 4, 8 at micro and 3, 6, 12, 24 at
    tiny and small.

    Args:
        token_mixer: Config of a block that takes ``in_channels`` and keeps the shape; or one for
            each stage.
        scale: ``'micro'``, ``'tiny'``, ``'small'`` or ``'base'``: channels and blocks of stages.
        depths: Numbers of blocks, in place of the scale's: 3, 3, 8, 3 or 2, 2, 9, 2 for the
            convolution.
        drop_path_rate: Of the last block; it grows linearly from 0.
        out_indices: Stages whose outputs are returned.
        num_classes: Number of classes of ``classify``; None leaves its layers out.
        in_channels: Channels of the image.
        init_cfg: Config of initial weights; by default those of the authors.

    Shape:
        (N, in_channels, H, W) -> feature maps of strides 4, 8, 16, 32, sides rounded up

    Raises:
        ValueError: A scale is unknown, or there is not one mixer and depth for each stage.
    """

    def __init__(
        self,
        token_mixer: dict | Sequence[dict],
        *,
        scale: str = "micro",
        depths: Sequence[int] | None = None,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        num_classes: int | None = None,
        in_channels: int = 3,
        init_cfg: dict | list[dict] | None = None,
    ):
        normal = {"type": "TruncNormal", "layer": ["Conv2d", "Linear"], "std": 0.02, "bias": 0.0}
        super().__init__(init_cfg=normal if init_cfg is None else init_cfg)
        if scale not in SCALES:
            raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
        widths, usual = SCALES[scale]
        depths = usual if depths is None else depths
        mixers = [token_mixer] * 4 if isinstance(token_mixer, dict) else list(token_mixer)
        for name, values in (("token_mixer", mixers), ("depths", depths)):
            if len(values) != 4:
                raise ValueError(f"{name} must have one entry for each of 4 stages, got {values}")
        require_at_least(0, depths=min(depths))
        self.out_indices = tuple(out_indices)
        # The authors' names.
        self.downsample_layers = ModuleList([_Stem(in_channels, widths[0])])
        for narrow, wide in pairwise(widths):
            self.downsample_layers.append(_Downsampling(narrow, wide))
        total, before = sum(depths), 0
        self.stages = ModuleList()
        for width, depth, mixer in zip(widths, depths, mixers, strict=True):
            rates = [drop_path_rate * (before + i) / max(total - 1, 1) for i in range(depth)]
            self.stages.append(ModuleList([_Block(width, mixer, rate) for rate in rates]))
            before += depth
        self.stage_norms = ModuleList([LayerNorm2d(width, eps=_EPS) for width in widths])
        self.conv_head = self.head = None
        if num_classes is not None:
            last = 3 * widths[3] // 2
            self.conv_head = nn.Sequential(
                nn.Conv2d(widths[3], last, 1, bias=False), nn.BatchNorm2d(last), nn.GELU()
            )
            self.head = nn.Linear(last, num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs = self._all_stages(x)
        return tuple(outputs[index] for index in self.out_indices)

    def _all_stages(self, x: Tensor) -> list[Tensor]:
        """Return the outputs of all four stages, whichever are asked for."""
        outputs = []
        for downsample, blocks, norm in zip(
            self.downsample_layers, self.stages, self.stage_norms, strict=True
        ):
            x = downsample(x)
            for block in blocks:
                x = block(x)
            x = norm(x)
            outputs.append(x)
        return outputs

    def classify(self, x: Tensor) -> Tensor:
        """Return logits of the classes: (N, in_channels, H, W) -> (N, classes).

        Raises:
            ValueError: The network was built without ``num_classes``.
        """
        if self.conv_head is None or self.head is None:
            raise ValueError("classify needs num_classes: build TokenMixerHost with it")
        return self.head(self.conv_head(self._all_stages(x)[3]).mean((2, 3)))


class _Stem(BaseModule):
    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels // 2, 3, 2, 1),
            LayerNorm2d(channels // 2, eps=_EPS),
            nn.GELU(),
            nn.Conv2d(channels // 2, channels, 3, 2, 1),
            LayerNorm2d(channels, eps=_EPS),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.stem(x)


class _Downsampling(BaseModule):
    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.reduction = nn.Sequential(
            nn.Conv2d(channels, out_channels, 3, 2, 1, bias=False),
            LayerNorm2d(out_channels, eps=_EPS),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.reduction(x)


class _MLP(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


class _Block(BaseModule):
    """Mixer and MLP, each behind a norm and scaled by a vector that starts near zero."""

    def __init__(self, channels: int, mixer: dict[str, Any], drop_path: float):
        super().__init__()
        self.norm1 = LayerNorm2d(channels, eps=_EPS)
        self.attn = MODELS.build({**mixer, "in_channels": channels})
        self.gamma_1 = nn.Parameter(torch.full((channels,), _LAYER_SCALE))
        self.norm2 = LayerNorm2d(channels, eps=_EPS)
        self.mlp = _MLP(channels)
        self.gamma_2 = nn.Parameter(torch.full((channels,), _LAYER_SCALE))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.gamma_1[:, None, None] * self.attn(self.norm1(x)))
        mixed = to_feature_map(self.mlp(to_tokens(self.norm2(x))), x.shape[2:])
        return x + self.drop_path(self.gamma_2[:, None, None] * mixed)
