"""SimAM (Yang et al., A Simple, Parameter-Free Attention Module, ICML 2021).

A value that stands out from its channel weighs more. The energy of a linear classifier that tells
one value t from the rest of its channel has the minimum

    e*(t) = 4 (v + lambda) / ((t - mu)^2 + 2 v + 2 lambda)

with the channel's mean mu and variance v, and the lower it is, the more t matters:

    F' = F sigmoid(1 / e*) = F sigmoid((F - mu)^2 / (4 (v + lambda)) + 1/2)

In plain torch::

    squares = (x - x.mean((2, 3), keepdim=True)).square()
    variance = x.var((2, 3), keepdim=True)
    return x * (squares / (4 * (variance + lambda_)) + 0.5).sigmoid()

As in the authors' code, v divides by H W - 1, and lambda is 1e-4 by default.

Differs from the authors' code: half precision and autocast compute the gate in float32, where
squares do not overflow; a 1 x 1 feature map, which has no variance, gets sigmoid(1/2) instead of
NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmattn.layers.checks import require_at_least
from mmattn.ops import accumulate_dtype
from mmattn.registry import MODELS


@MODELS.register_module()
class SimAM(nn.Module):
    """One gate per value, by how much the value stands out from its channel; no parameters.

    A constant feature map is scaled by sigmoid(1/2), about 0.62, and no value by less. Permuting
    channels or positions permutes the output.

    Args:
        in_channels: Channels C of the input; only checked, nothing depends on it.
        regularisation: lambda in the paper.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Example:
        >>> import torch
        >>> SimAM(32)(torch.ones(2, 32, 5, 7))[0, 0, 0, 0]
        tensor(0.6225)
    """

    def __init__(self, in_channels: int, *, regularisation: float = 1e-4):
        super().__init__()
        require_at_least(1, in_channels=in_channels)
        if regularisation <= 0:
            raise ValueError(f"regularisation must be positive, got {regularisation}")
        self.regularisation = regularisation

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate(x)
        if gate.dtype != x.dtype:
            gate = gate.to(x.dtype)
        return x * gate if gate.requires_grad else gate.mul_(x)

    def gate(self, x: Tensor) -> Tensor:
        """Return sigmoid(1 / e*) of every value. Shape (N, C, H, W), at least float32."""
        values = x.to(accumulate_dtype(x.dtype))
        # Of an image's size: overwritten where no gradient needs them.
        centred = values - values.mean((2, 3), keepdim=True)
        squares = centred.square() if centred.requires_grad else centred.square_()
        larger = torch.sym_max if torch.compiler.is_compiling() else max
        others = larger(x.shape[2] * x.shape[3] - 1, 1)
        variance = squares.sum((2, 3), keepdim=True) / others
        # A product, since the gradient of a division by (N, C, 1, 1) takes several passes.
        factor = 0.25 / (variance + self.regularisation)
        inverse_energy = squares * factor if squares.requires_grad else squares.mul_(factor)
        return inverse_energy.add_(0.5).sigmoid_()

    def attention_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the gate, ``"value"``, of the shape of ``x``."""
        return {"value": self.gate(x)}

    def extra_repr(self) -> str:
        return f"regularisation={self.regularisation}"
