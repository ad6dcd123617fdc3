"""CBAM: convolutional block attention module (Woo et al., ECCV 2018, arXiv:1807.06521).

A gate per channel, then a gate per position, computed from the output of the first gate:

    M_c = sigmoid(MLP(mean_{y,x} F) + MLP(max_{y,x} F));     F'  = M_c F
    M_s = sigmoid(BN(conv_7x7([max_c F'; mean_c F'])));      F'' = M_s F'

In plain torch, with gates of shapes (N, C, 1, 1) and (N, 1, H, W)::

    x = x * (mlp(x.mean((2, 3))) + mlp(x.amax((2, 3)))).sigmoid()[:, :, None, None]
    return x * spatial(torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)).sigmoid()

MLP: C -> C / r -> ReLU -> C, r = 16, shared by both pooled vectors, summed before the sigmoid.

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

from mmattn.layers.checks import require_at_least, require_odd
from mmattn.layers.precision import run_in_float32
from mmattn.ops import apply_gates, gated_channel_pool, global_avg_max_pool
from mmattn.registry import MODELS


@MODELS.register_module()
class CBAM(nn.Module):
    """One gate per channel, then one per position.

    At initialisation the spatial gate is 1/2 everywhere. As the authors have it, in every block of
    a ResNet, before the addition::

        plugins=[dict(cfg=dict(type='mmattn.CBAM'), position='after_conv3')]

    Loads the authors' weights. ``variants`` holds the arguments for each gate alone and for what
    other projects call CBAM; the converters ``cbam-timm``, ``cbam-mmyolo`` convert their weights.

    Args:
        in_channels: Channels C of the input.
        reduction: r in the paper; C // r hidden channels, at least 1.
        hidden_channels: Number of hidden channels, in place of ``reduction``.
        kernel_size: Kernel size of the spatial gate's convolution, odd; 7 in the paper.
        channel_gate: Whether there is a gate per channel.
        spatial_gate: Whether there is a gate per position.
        mlp_bias: Whether both layers of the MLP have a bias.
        mean_first: Whether the convolution sees the mean before the maximum, as in the paper's
            equation, in timm and in mmyolo. Weights of either order load in both and compute
            something else in the wrong one; converted weights are always for False.
        spatial_bias: Whether the spatial gate's convolution has a bias.
        spatial_norm: Whether a batch norm follows that convolution; the paper's equation has none.
        norm_momentum: Momentum of that norm's running statistics.
        norm_weight: Initial value of that norm's weight.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Raises:
        ValueError: An argument is out of its range, or both gates are left out.

    Example:
        >>> import torch
        >>> CBAM(32)(torch.ones(2, 32, 5, 7)).shape
        torch.Size([2, 32, 5, 7])
    """

    usual_place: ClassVar[str] = (
        "every residual block of a ResNet, after the last convolution, before the addition"
    )

    # timm and mmyolo also take the mean first. A fresh module computes the same in both orders, and
    # the converters change weights to the authors' order, so no variant sets mean_first.
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
        require_at_least(
            1, in_channels=in_channels, reduction=reduction, hidden_channels=hidden_channels
        )
        require_odd(kernel_size=kernel_size)
        if not (channel_gate or spatial_gate):
            raise ValueError("channel_gate and spatial_gate must not both be False")
        if hidden_channels is None:
            hidden_channels = max(in_channels // reduction, 1)
        self.in_channels = in_channels
        self.norm_weight = norm_weight
        # The names of the authors' checkpoints.
        self.ChannelGate = (
            _ChannelGate(in_channels, hidden_channels, mlp_bias) if channel_gate else None
        )
        self.SpatialGate = None
        if spatial_gate:
            norm = nn.BatchNorm2d(1, momentum=norm_momentum) if spatial_norm else None
            self.SpatialGate = _SpatialGate(kernel_size, spatial_bias, norm, mean_first)
        self.init_weights()

    def init_weights(self) -> None:
        """Set the authors' initial state, also after a network has initialised all its layers."""
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
        channel, spatial = self.gates(x)
        return apply_gates(x, channel=channel, spatial=spatial)

    def gates(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return M_c, (N, C), and M_s, (N, 1, H, W), at least float32; None where left out."""
        channel = spatial = None
        if self.ChannelGate is not None:
            channel = self.ChannelGate(x)
        if self.SpatialGate is not None:
            spatial = self.SpatialGate(x, channel)
        return channel, spatial

    def attention_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the gates: ``"channel"`` of shape (N, C, 1, 1), ``"spatial"`` of (N, 1, H, W)."""
        channel, spatial = self.gates(x)
        maps = {} if channel is None else {"channel": channel[:, :, None, None]}
        return maps if spatial is None else {**maps, "spatial": spatial}


class _ChannelGate(nn.Module):
    """M_c: (N, C, H, W) -> (N, C), at least float32."""

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
        mean, maximum = run_in_float32(self.mlp, pooled).unflatten(0, (2, x.shape[0]))
        return (mean + maximum).sigmoid()


class _SpatialGate(nn.Module):
    """M_s from F, (N, C, H, W), and M_c, (N, C) or None: (N, 1, H, W), at least float32.

    F' = M_c F is not stored: it is computed where its maximum and mean are taken, and again in F''.
    """

    def __init__(self, kernel_size: int, bias: bool, norm: nn.Module | None, mean_first: bool):
        super().__init__()
        self.mean_first = mean_first
        conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=bias)
        self.spatial = nn.Sequential(OrderedDict(conv=conv))
        if norm is not None:
            self.spatial.add_module("bn", norm)

    def forward(self, x: Tensor, channel: Tensor | None) -> Tensor:
        pooled = gated_channel_pool(x, channel)  # (N, 2, H, W)
        if self.mean_first:
            pooled = pooled.flip(1)
        return run_in_float32(self.spatial, pooled).sigmoid()
