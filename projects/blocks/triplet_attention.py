"""Triplet attention (Misra et al., Rotate to Attend, WACV 2021, arXiv:2010.03045).

Three gates, each for one pair of the dimensions C, H, W. The third dimension is pooled away, the
remaining plane is convolved, and the three gated feature maps are averaged:

    pool_d(F) = [max_d F; mean_d F];   gate_d = sigmoid(BN(f7x7(pool_d(F))))
    F' = (gate_H F + gate_W F + gate_C F) / 3

In plain torch, with gates of shapes (N, C, 1, W), (N, C, H, 1) and (N, 1, H, W)::

    gate_h, gate_w, gate_c = cw(pool(x, 2)), hc(pool(x, 3)), hw(pool(x, 1))
    return x * (gate_h + gate_w + gate_c) / 3

gate_C is the spatial gate of CBAM, over (H, W); gate_H is over (C, W) and gate_W over (H, C), so
that channels meet space. The convolution slides along the channels as along an axis: it sees 7
neighbouring channels, whose order therefore matters.

Differs from the authors' code: the gates are averaged before they are applied, so the feature map
is scaled once, and nothing is permuted in memory; half precision and autocast compute the gates in
float32.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from mmattn.layers.checks import require_at_least, require_odd
from mmattn.layers.precision import run_in_float32
from mmattn.ops import accumulate_dtype
from mmattn.registry import MODELS


@MODELS.register_module()
class TripletAttention(nn.Module):
    """Three gates, one for each pair of channels, rows and columns.

    With convolutions of zero and fresh norms all gates are 1/2. Its 300 parameters do not depend on
    the number of channels. Loads the weights of the authors' stand-alone file; the networks that
    they train have other names, which the converters ``triplet-attention-official*`` know.

    Args:
        in_channels: Channels C of the input; only checked, nothing depends on it.
        kernel_size: Side of the three convolutions' kernels, odd; 7 in the paper.
        spatial: Whether gate_C takes part; without it the other two are averaged.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Example:
        >>> import torch
        >>> TripletAttention(32)(torch.ones(2, 32, 5, 7)).shape
        torch.Size([2, 32, 5, 7])
    """

    usual_place: ClassVar[str] = (
        "every residual block of a ResNet, after the last convolution, before the addition"
    )

    def __init__(self, in_channels: int, *, kernel_size: int = 7, spatial: bool = True):
        super().__init__()
        require_at_least(1, in_channels=in_channels)
        require_odd(kernel_size=kernel_size)
        # The authors' names: the two dimensions of the gate's plane.
        self.cw = _Gate(kernel_size)
        self.hc = _Gate(kernel_size)
        self.hw = _Gate(kernel_size) if spatial else None

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.attention_maps(x).values()
        return x * (sum(others, first) / (1 + len(others))).to(x.dtype)

    def attention_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the gates: ``"cw"`` (N, C, 1, W), ``"hc"`` (N, C, H, 1), ``"hw"`` (N, 1, H, W)."""
        gates = {
            "cw": self.cw(_pool(x, 2).transpose(1, 2)).transpose(1, 2),
            "hc": self.hc(_pool(x, 3).transpose(1, 3)).transpose(1, 3),
        }
        if self.hw is not None:
            gates["hw"] = self.hw(_pool(x, 1))
        return gates


def _pool(x: Tensor, dim: int) -> Tensor:
    """Return maximum and mean over ``dim``, which then has length 2; at least float32."""
    largest = x.max(dim, keepdim=True).values
    mean = x.mean(dim, keepdim=True, dtype=accumulate_dtype(x.dtype))
    return torch.cat([largest.to(mean.dtype), mean], dim)


class _Gate(nn.Module):
    """The gate of a plane from its two pooled feature maps: (N, 2, A, B) -> (N, 1, A, B)."""

    def __init__(self, kernel_size: int):
        super().__init__()
        self.conv = _ConvNorm(kernel_size)

    def forward(self, pooled: Tensor) -> Tensor:
        return run_in_float32(self.conv, pooled).sigmoid()


class _ConvNorm(nn.Module):
    """Convolution and batch norm, one level deeper than needed, as in the authors' files."""

    def __init__(self, kernel_size: int):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, pooled: Tensor) -> Tensor:
        return self.bn(self.conv(pooled))
