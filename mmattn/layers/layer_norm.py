"""Layer normalisation of feature maps."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of each position; its weights are those of ``nn.LayerNorm``.

    Needs no copy where the feature map is laid out channels-last, which the output always is.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Example:
        >>> import torch
        >>> LayerNorm2d(2)(torch.tensor([3.0, 5.0]).view(1, 2, 1, 1)).flatten().round().tolist()
        [-1.0, 1.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        x = input.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)
