"""Scale-aware attention: one gate per map, from its channel means (arXiv:2106.08322, equation 3).

    g(x) = hard_sigmoid(ReLU(w · mean(x) + b)),    hard_sigmoid(v) = min(max(v + 3, 0), 6) / 6

The ReLU, which is in the authors' code and not in the paper, keeps gates in [1/2, 1].
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .dynamic_relu import linear


class ScaleAttention(nn.Sequential):
    """Weigh a whole feature map by one number, which its channel means decide.

    Args:
        channels: Channels C of the maps.

    Shape:
        - input: (N, C, H, W)
        - output: (N, 1, 1, 1), each in [1/2, 1]

    Example:
        >>> import torch
        >>> ScaleAttention(8)(torch.zeros(2, 8, 4, 6)).shape
        torch.Size([2, 1, 1, 1])
    """

    def __init__(self, channels: int):
        super().__init__(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 1, 1), nn.ReLU(), nn.Hardsigmoid()
        )

    def of_means(self, means: Tensor) -> Tensor:
        """Return the gates (N, 1) of maps with channel means (N, C), in the means' precision."""
        conv = self[1]
        assert isinstance(conv, nn.Conv2d)
        return F.hardsigmoid(linear(conv, means).relu())
