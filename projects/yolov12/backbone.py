"""The backbone of YOLOv12 (Tian, Ye and Doermann, arXiv:2502.12524).

Widths before scaling, and lengths of chains:

    stem     Conv 64, stride 2
    stage2   Conv 128, stride 2; C3k2 256, 2 units of a quarter of the width    P2, 1/4
    stage3   Conv 256, stride 2; C3k2 512, 2 units of a quarter of the width    P3, 1/8
    stage4   Conv 512, stride 2; A2C2f 512, 4 units, 4 areas                    P4, 1/16
    stage5   Conv 1024, stride 2; A2C2f 1024, 4 units, 1 area                   P5, 1/32

The first two strided convolutions of stages have 2 and 4 groups in the version turbo.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmattn.errors import ConfigError
from mmattn.layers.fuse import fuse_children
from mmattn.registry import MODELS

from .conv_blocks import C3k2, Conv
from .r_elan import A2C2f
from .scales import SCALES, VERSIONS, look_up

_LEVELS = (2, 3, 4, 5)


@MODELS.register_module()
class YOLOv12Backbone(BaseModule):
    """YOLOv12's backbone: an image to feature maps at strides 8, 16 and 32.

    Channels of P2 to P5: n 64, 128, 128, 256; s 128, 256, 256, 512; m and l 256, 512, 512, 512;
    x 384, 768, 768, 768 (``out_channels`` has those of ``out_levels``).

    Args:
        scale: ``"n"``, ``"s"``, ``"m"``, ``"l"`` or ``"x"``.
        version: ``"turbo"``, the authors' later release, or ``"v1.0"``, that of the paper.
        out_levels: Feature maps to return, of 2 to 5; P4 has stride 2^4.
        residual_scale: Initial value of the scale of R-ELAN's shortcut in stages 4 and 5; None for
            no shortcut. By default 0.01 at l and x, and none at the others.
        mlp_ratio: Ratio of hidden to outer channels in the feed-forward networks; by default 2 at
            n, s and m, and the version's at l and x: 1.5 in turbo, 1.2 in v1.0.
        qk_norm: Whether attention normalises q and k; not in the paper.
        frozen_stages: Stages that are not trained and keep their statistics: 1 for the stem, 2 for
            stage 2 too, up to 5; 0 for none.
        norm_eval: Whether all batch norms keep their statistics in training.
        norm_cfg: Config of the batch norms; eps is 1e-3 and momentum 0.03 unless it says otherwise.
        init_cfg: mmengine's initialisation; by default the constructor's weights are kept.

    Raises:
        ConfigError: ``scale``, ``version``, ``out_levels`` or ``frozen_stages`` is none of these.

    Shape:
        - x: (N, 3, H, W), H and W multiples of 32 for the network's own areas, else any from 32
        - output: (N, C, ceil(H / 2^level), ceil(W / 2^level)) for each of ``out_levels``

    Example:
        >>> import torch
        >>> maps = YOLOv12Backbone("n").eval()(torch.zeros(1, 3, 64, 96))
        >>> [tuple(m.shape) for m in maps]
        [(1, 128, 8, 12), (1, 128, 4, 6), (1, 256, 2, 3)]
    """

    def __init__(
        self,
        scale: str = "n",
        *,
        version: str = "turbo",
        out_levels: Sequence[int] = (3, 4, 5),
        residual_scale: float | Literal["auto"] | None = "auto",
        mlp_ratio: float | None = None,
        qk_norm: bool = False,
        frozen_stages: int = 0,
        norm_eval: bool = False,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        size, release = look_up("scale", scale, SCALES), look_up("version", version, VERSIONS)
        if not out_levels or not set(out_levels) <= set(_LEVELS):
            raise ConfigError(
                f"out_levels must be some of {', '.join(map(str, _LEVELS))}, got {out_levels}"
            )
        if frozen_stages not in range(6):
            raise ConfigError(f"frozen_stages must be 0 to 5, got {frozen_stages}")
        if mlp_ratio is None:
            mlp_ratio = release.mlp_ratio if size.large else 2.0
        if residual_scale == "auto":
            residual_scale = size.residual_scale
        norm: dict[str, Any] = {"norm_cfg": norm_cfg}

        def down(width_in: int, width_out: int, groups: int = 1) -> Conv:
            inner, outer = size.channels(width_in), size.channels(width_out)
            return Conv(inner, outer, 3, stride=2, groups=groups, **norm)

        def elan(width_in: int, width_out: int) -> C3k2:
            return C3k2(
                size.channels(width_in),
                size.channels(width_out),
                num_units=size.length(2),
                c3k=size.c3k,
                expansion=0.25,
                **norm,
            )

        def attending(width: int, areas: int) -> A2C2f:
            channels = size.channels(width)
            return A2C2f(
                channels,
                channels,
                num_units=size.length(4),
                areas=areas,
                residual_scale=residual_scale,
                mlp_ratio=mlp_ratio,
                layout=release.layout,
                qk_norm=qk_norm,
                **norm,
            )

        self.stem = Conv(3, size.channels(64), 3, stride=2, **norm)
        self.stage2 = nn.Sequential(down(64, 128, release.groups[0]), elan(128, 256))
        self.stage3 = nn.Sequential(down(256, 256, release.groups[1]), elan(256, 512))
        self.stage4 = nn.Sequential(down(512, 512), attending(512, areas=4))
        self.stage5 = nn.Sequential(down(512, 1024), attending(1024, areas=1))
        self.out_levels = tuple(out_levels)
        widths = {2: 256, 3: 512, 4: 512, 5: 1024}
        self.out_channels = tuple(size.channels(widths[level]) for level in self.out_levels)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x)
        maps = {}
        for level in range(2, max(self.out_levels) + 1):
            x = maps[level] = self.get_submodule(f"stage{level}")(x)
        return tuple(maps[level] for level in self.out_levels)

    def train(self, mode: bool = True) -> YOLOv12Backbone:
        """Set the mode; what is frozen, and norms under ``norm_eval``, stay in eval mode."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def fused(self) -> nn.Module:
        return fuse_children(self).to(memory_format=torch.channels_last)

    def _freeze(self) -> None:
        for stage in range(1, self.frozen_stages + 1):
            part = self.stem if stage == 1 else self.get_submodule(f"stage{stage}")
            part.eval()
            part.requires_grad_(False)
