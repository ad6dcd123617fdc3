"""SimAM (Yang et al., A Simple, Parameter-Free Attention Module, ICML 2021).

A value that stands out from its channel weighs more. The energy of a linear classifier that tells
one value t from the rest of its channel has the minimum

    e*(t) = 4 (v + lambda) / ((t - mu)^2 + 2 v + 2 lambda)

with the channel's mean mu and variance v, and the lower it is, the more t matters:

    F' = F sigmoid(1 / e*) = F sigmoid((F - mu)^2 / (4 (v + lambda)) + 1/2)

As in the authors' code, v divides by H W - 1, and the module has lambda = 1e-4 by default.

Differs from it: half precision and autocast compute the gate in float32, where squares do not
overflow; a map of 1 x 1, which has no variance, gets sigmoid(1/2) instead of NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmattn.ops import accumulate_dtype
from mmattn.registry import MODELS


@MODELS.register_module()
class SimAM(nn.Module):
    """Parameter-free attention: (N, C, H, W) in, the same shape out.

    A constant map is scaled by sigmoid(1/2), about 0.62, and no value by less. Permuting channels
    or positions permutes the output.

    Args:
        in_channels: Channels C of the input; only checked, nothing depends on it.
        regularisation: lambda in the paper.

    Example:
        >>> import torch
        >>> SimAM(32)(torch.ones(2, 32, 5, 7))[0, 0, 0, 0]
        tensor(0.6225)
    """

    def __init__(self, in_channels: int, *, regularisation: float = 1e-4):
        super().__init__()
        if in_channels < 1:
            raise ValueError(f"in_channels must be at least 1, got {in_channels}")
        if regularisation <= 0:
            raise ValueError(f"regularisation must be positive, got {regularisation}")
        self.regularisation = regularisation

    def forward(self, x: Tensor) -> Tensor:
        values = x.to(accumulate_dtype(x.dtype))
        squares = (values - values.mean((2, 3), keepdim=True)).square()
        others = torch.sym_max(x.shape[2] * x.shape[3] - 1, 1)
        variance = squares.sum((2, 3), keepdim=True) / others
        energy = squares / (4 * (variance + self.regularisation)) + 0.5  # 1 / e*
        return x * energy.sigmoid().to(x.dtype)

    def extra_repr(self) -> str:
        return f"regularisation={self.regularisation}"
