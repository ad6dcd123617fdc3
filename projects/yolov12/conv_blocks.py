"""The convolutional blocks of YOLOv12: Conv, Bottleneck, C3k and C3k2 (arXiv:2502.12524).

With [a, b] for concatenation along channels and B for a bottleneck, x + Conv3x3(Conv3x3(x)),

    C3k(x)  = Conv1x1([B(B(Conv1x1(x))), Conv1x1'(x)])
    C3k2(x) = Conv1x1([y0, y1, u1, ..., un]),  [y0, y1] = Conv1x1(x),  u1 = U1(y1),  ui = Ui(ui-1)

with B or C3k for the units U.
"""

from __future__ import annotations

import torch
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.checks import require_at_least
from mmattn.layers.folding import affine_of, fold_after

# Not torch's 1e-5 and 0.1.
_NORM = {"type": "BN", "eps": 1e-3, "momentum": 0.03}


def build_norm(norm_cfg: dict | None, channels: int) -> nn.Module:
    """Build a batch norm with the network's eps 1e-3 and momentum 0.03 unless ``norm_cfg`` has own.

    Args:
        norm_cfg: ``None`` for BN, or such as ``dict(type="SyncBN")``.
        channels: Number of channels.

    Raises:
        ValueError: ``norm_cfg`` is not a batch norm, which the published weights are of.
    """
    norm = build_norm_layer({**_NORM, **(norm_cfg or {})}, channels)[1]
    if not isinstance(norm, nn.modules.batchnorm._BatchNorm):
        raise ValueError(f"norm_cfg must be a batch norm (BN or SyncBN), got {norm_cfg}")
    return norm


class Conv(nn.Module):
    """Convolution without bias, batch norm, SiLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd kernel size; padded so that stride 1 keeps the size.
        stride: Stride of the convolution.
        groups: Groups of the convolution.
        activation: Whether SiLU follows.
        norm_cfg: Config of the norm, as in ``build_norm``.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: bool = True,
        norm_cfg: dict | None = None,
    ):
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            kernel_size // 2,
            groups=groups,
            bias=False,
        )
        self.bn = build_norm(norm_cfg, out_channels)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(x))
        return F.silu(y, inplace=True) if self.activation else y

    def folded(self) -> nn.Conv2d:
        """Return convolution and norm as one convolution, without the activation."""
        return fold_after(self.conv, affine_of(self.bn))

    def fused(self) -> nn.Module:
        self.conv, self.bn = self.folded(), nn.Identity()
        return self


class Bottleneck(nn.Module):
    """Two 3x3 convolutions around a shortcut.

    Args:
        channels: Channels of input and output.
        expansion: Ratio of the channels between the convolutions to ``channels``.
        norm_cfg: Config of the norms.

    Shape:
        (N, channels, H, W), the same out
    """

    def __init__(self, channels: int, *, expansion: float = 0.5, norm_cfg: dict | None = None):
        super().__init__()
        hidden = int(channels * expansion)
        self.conv1 = Conv(channels, hidden, 3, norm_cfg=norm_cfg)
        self.conv2 = Conv(hidden, channels, 3, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x))


class C3k(nn.Module):
    """Two bottlenecks beside a 1x1 convolution, each at half the width.

    Args:
        channels: Channels of input and output.
        norm_cfg: Config of the norms.

    Shape:
        (N, channels, H, W), the same out
    """

    def __init__(self, channels: int, *, norm_cfg: dict | None = None):
        super().__init__()
        hidden = channels // 2
        self.reduce = Conv(channels, hidden, norm_cfg=norm_cfg)
        self.bottlenecks = nn.Sequential(
            *(Bottleneck(hidden, expansion=1.0, norm_cfg=norm_cfg) for _ in range(2))
        )
        self.bypass = Conv(channels, hidden, norm_cfg=norm_cfg)
        self.merge = Conv(2 * hidden, channels, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        return self.merge(torch.cat((self.bottlenecks(self.reduce(x)), self.bypass(x)), 1))


class C3k2(nn.Module):
    """A chain of units, all of whose outputs reach the last convolution.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        num_units: Length n of the chain.
        c3k: Whether a unit is a ``C3k``, else a ``Bottleneck``.
        expansion: Ratio of a unit's channels to ``out_channels``.
        norm_cfg: Config of the norms.

    Raises:
        ValueError: A number is less than 1.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        num_units: int = 1,
        c3k: bool = False,
        expansion: float = 0.5,
        norm_cfg: dict | None = None,
    ):
        super().__init__()
        hidden = int(out_channels * expansion)
        require_at_least(1, in_channels=in_channels, num_units=num_units, hidden_channels=hidden)
        self.split = Conv(in_channels, 2 * hidden, norm_cfg=norm_cfg)
        unit = C3k if c3k else Bottleneck
        self.units = nn.ModuleList(unit(hidden, norm_cfg=norm_cfg) for _ in range(num_units))
        self.merge = Conv((2 + num_units) * hidden, out_channels, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        maps = list(self.split(x).chunk(2, 1))
        for unit in self.units:
            maps.append(unit(maps[-1]))
        return self.merge(torch.cat(maps, 1))
