"""CBAM: convolutional block attention module (Woo et al., ECCV 2018, arXiv:1807.06521).

A gate for each channel, then a gate for each position, computed from what the first one leaves:

    M_c = sigmoid(MLP(mean_{y,x} F) + MLP(max_{y,x} F));     F'  = M_c F
    M_s = sigmoid(BN(conv_7x7([max_c F'; mean_c F'])));      F'' = M_s F'

MLP: C -> C / r -> ReLU -> C, r = 16, one for both pooled vectors, summed before the sigmoid.

Follows the authors' code where it says more than the paper: biases in the MLP, a batch norm of one
channel behind the 7 x 7 convolution, whose weight starts at 0, so that M_s starts at 1/2
everywhere, and the maximum before the mean. Differs from it: half precision and autocast compute
the gates in float32; fewer than r channels still leave one hidden channel.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmattn.layers.precision import run_in_float32
from mmattn.ops import apply_gates, gated_channel_pool, global_avg_max_pool
from mmattn.registry import MODELS


@MODELS.register_module()
class CBAM(nn.Module):
    """Channel gate and spatial gate, one after the other: (N, C, H, W) in, the same shape out.

    A fresh module halves what its channel gate leaves, F'' = F' / 2. As the authors have it, in
    every block of a ResNet, before the addition::

        plugins=[dict(cfg=dict(type='mmattn.CBAM'), position='after_conv3')]

    Loads the authors' weights. ``variants`` has each gate alone and what other projects call CBAM;
    the converters ``cbam-timm`` and ``cbam-mmyolo`` bring their weights.

    Args:
        in_channels: Channels C of the input.
        reduction: r in the paper; C // r hidden channels, at least 1.
        hidden_channels: Their number itself, in place of ``reduction``.
        kernel_size: Of the spatial gate's convolution, odd; 7 in the paper.
        channel_gate: Whether there is a gate for each channel.
        spatial_gate: Whether there is a gate for each position.
        mlp_bias: Whether both layers of the MLP have one.
        mean_first: Whether the convolution sees the mean before the maximum, as in the paper's
            equation, in timm and in mmyolo. Weights of one order load in the other and mean
            something else; converters always give those for False.
        spatial_bias: Whether the convolution has a bias.
        spatial_norm: Whether a batch norm follows it; the paper's equation has none.
        norm_momentum: Of that norm's running statistics.
        norm_weight: What that norm's weight starts at.

    Example:
        >>> import torch
        >>> CBAM(32)(torch.ones(2, 32, 5, 7)).shape
        torch.Size([2, 32, 5, 7])
    """

    # timm and mmyolo also take the mean first. A fresh module is the same in both orders, and the
    # converters bring weights into the authors', so no variant asks for it.
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "channel": {"spatial_gate": False},
        "spatial": {"channel_gate": False},
        "timm": {"mlp_bias": False, "norm_momentum": 0.1, "norm_weight": 1.0},
        "mmyolo": {"spatial_bias": True, "spatial_norm": False},
    }

    def __init__(
        self,
        in_channels: int,
        *,
        reduction: int = 16,
        hidden_channels: int | None = None,
        kernel_size: int = 7,
        channel_gate: bool = True,
        spatial_gate: bool = True,
        mlp_bias: bool = True,
        mean_first: bool = False,
        spatial_bias: bool = False,
        spatial_norm: bool = True,
        norm_momentum: float = 0.01,
        norm_weight: float = 0.0,
    ):
        super().__init__()
        if in_channels < 1 or reduction < 1:
            raise ValueError(
                f"in_channels and reduction must be at least 1, got {in_channels} and {reduction}"
            )
        if hidden_channels is None:
            hidden_channels = max(in_channels // reduction, 1)
        if hidden_channels < 1:
            raise ValueError(f"hidden_channels must be at least 1, got {hidden_channels}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        if not (channel_gate or spatial_gate):
            raise ValueError("channel_gate and spatial_gate are both False: nothing is left")
        self.in_channels = in_channels
        self.norm_weight = norm_weight
        # The names are those in the authors' files.
        self.ChannelGate = (
            _ChannelGate(in_channels, hidden_channels, mlp_bias) if channel_gate else None
        )
        self.SpatialGate = None
        if spatial_gate:
            norm = nn.BatchNorm2d(1, momentum=norm_momentum) if spatial_norm else None
            self.SpatialGate = _SpatialGate(kernel_size, spatial_bias, norm, mean_first)
        self.init_weights()

    def init_weights(self) -> None:
        """Take the authors' initial state, also after a network has initialised all its layers."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.BatchNorm2d):
                module.reset_parameters()
            if isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.weight, self.norm_weight)
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        channel = spatial = None
        if self.ChannelGate is not None:
            channel = self.ChannelGate(x)  # (N, C)
        if self.SpatialGate is not None:
            spatial = self.SpatialGate(x, channel)  # (N, 1, H, W)
        return apply_gates(x, channel=channel, spatial=spatial)


class _ChannelGate(nn.Module):
    """M_c: (N, C, H, W) to (N, C), at least float32."""

    def __init__(self, channels: int, hidden: int, bias: bool):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels, hidden, bias=bias),
            nn.ReLU(),
            nn.Linear(hidden, channels, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat(global_avg_max_pool(x))  # (2 N, C)
        # Not chunk(2): an exported file would keep the batch that it was traced with.
        of_mean, of_max = run_in_float32(self.mlp, pooled).unflatten(0, (2, x.shape[0]))
        return (of_mean + of_max).sigmoid()


class _SpatialGate(nn.Module):
    """M_s: F and M_c, (N, C, H, W) and (N, C) or None, to (N, 1, H, W), at least float32.

    F' is not stored: it is formed where maximum and mean are taken, and again where F'' is.
    """

    def __init__(self, kernel_size: int, bias: bool, norm: nn.Module | None, mean_first: bool):
        super().__init__()
        self.mean_first = mean_first
        conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=bias)
        self.spatial = nn.Sequential(OrderedDict(conv=conv))
        if norm is not None:
            self.spatial.add_module("bn", norm)

    def forward(self, x: Tensor, channel: Tensor | None) -> Tensor:
        maps = gated_channel_pool(x, channel)  # (N, 2, H, W)
        if self.mean_first:
            maps = maps.flip(1)
        return run_in_float32(self.spatial, maps).sigmoid()
