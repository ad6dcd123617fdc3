"""The neck of YOLOv12: a feature pyramid down and up again (arXiv:2502.12524).

    T4 = A([up(P5), P4])                N3 = A([up(T4), P3])
    N4 = A([down(N3), T4])              N5 = C([down(N4), P5])

A is R-ELAN without attention, C is C3k2 with C3k for its units, up is nearest, down a 3x3
convolution of stride 2. Widths before scaling: T4 and N4 512, N3 256, N5 1024.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.errors import ConfigError
from mmattn.layers.fuse import fuse_children
from mmattn.registry import MODELS

from .conv_blocks import C3k2, Conv
from .r_elan import A2C2f


@MODELS.register_module()
class YOLOv12Neck(BaseModule):
    """Mix three feature maps, each twice as large as the next; for any backbone.

    Args:
        in_channels: Channels of P3, P4 and P5.
        out_channels: Channels of N3, N4 and N5. At YOLOv12's scales: n 64, 128, 256; s 128, 256,
            512; m and l 256, 512, 512; x 384, 768, 768.
        num_units: Units of each chain: 1 at n, s and m, 2 at l and x.
        norm_cfg: Config of the batch norms; eps is 1e-3 and momentum 0.03 unless it says otherwise.
        init_cfg: mmengine's initialisation; by default the constructor's weights are kept.

    Raises:
        ConfigError: There are not three numbers of channels.

    Shape:
        - inputs: (N, in_channels[i], H / 2^i, W / 2^i), sizes rounded up
        - output: (N, out_channels[i], H / 2^i, W / 2^i), a tuple of three

    Example:
        >>> import torch
        >>> neck = YOLOv12Neck((8, 16, 32), (16, 16, 32)).eval()
        >>> maps = neck([torch.zeros(1, 8 * 2**i, 12 // 2**i, 8 // 2**i) for i in range(3)])
        >>> [tuple(m.shape) for m in maps]
        [(1, 16, 12, 8), (1, 16, 6, 4), (1, 32, 3, 2)]
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        *,
        num_units: int = 1,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if len(channels) != 3:
                raise ConfigError(f"{name} must be three numbers, of P3, P4 and P5; got {channels}")
        self.in_channels = tuple(in_channels)  # WithPlugins looks there
        p3, p4, p5 = in_channels
        n3, n4, n5 = out_channels
        norm: dict[str, Any] = {"norm_cfg": norm_cfg}
        chain = {"num_units": num_units, **norm}
        self.top_down4 = A2C2f(p5 + p4, n4, areas=None, **chain)
        self.top_down3 = A2C2f(n4 + p3, n3, areas=None, **chain)
        self.down3 = Conv(n3, n3, 3, stride=2, **norm)
        self.bottom_up4 = A2C2f(n3 + n4, n4, areas=None, **chain)
        self.down4 = Conv(n4, n4, 3, stride=2, **norm)
        self.bottom_up5 = C3k2(n4 + p5, n5, c3k=True, **chain)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        p3, p4, p5 = inputs
        t4 = self.top_down4(_beside(_enlarged(p5, p4), p4))
        n3 = self.top_down3(_beside(_enlarged(t4, p3), p3))
        n4 = self.bottom_up4(_beside(self.down3(n3), t4))
        n5 = self.bottom_up5(_beside(self.down4(n4), p5))
        return n3, n4, n5

    def fused(self) -> nn.Module:
        return fuse_children(self).to(memory_format=torch.channels_last)


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    """Repeat positions up to the size of ``like``: twice, or once less at an odd size's end."""
    return F.interpolate(x, size=like.shape[2:], mode="nearest")


def _beside(x: Tensor, y: Tensor) -> Tensor:
    return torch.cat((x, y), 1)
