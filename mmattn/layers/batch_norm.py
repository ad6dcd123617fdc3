"""Batch normalisation that can also train on a single value per channel."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class LenientBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` that trains where a channel has one value: a batch of 1 on a 1x1 map.

    torch refuses there, since one value has no variance. Here the running statistics normalise it,
    as in eval mode, and stay as they are; so the layer still learns its scale and shift, and
    training and test agree. Everywhere else it is ``nn.BatchNorm2d``.

    Shape:
        - input: (N, C, H, W)
        - output: the same
    """

    def forward(self, input: Tensor) -> Tensor:
        # Sizes are looked at in training alone: an exported graph must not depend on them.
        if self.training and self.track_running_stats and input.numel() == input.shape[1]:
            mean, var = self.running_mean, self.running_var
            return F.batch_norm(input, mean, var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(input)
