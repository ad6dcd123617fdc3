"""Squeeze-and-excitation (Hu et al., Squeeze-and-Excitation Networks, arXiv:1709.01507).

The mean of every channel, through two fully connected layers, scales that channel:

    z = mean_{y,x} F[:, y, x];   s = sigmoid(W2 relu(W1 z));   F'[c] = s[c] F[c]

W1 narrows C channels to C / r, r = 16. The paper's count of parameters, 2 C^2 / r, leaves biases
out; public code has them, and so has this one unless ``bias=False``.

Differs from the authors' code: half precision and autocast compute s in float32; fewer than r
channels still leave one hidden channel.
"""

from __future__ import annotations

from torch import Tensor, nn

from mmattn.layers.precision import run_in_float32
from mmattn.ops import accumulate_dtype, apply_gates
from mmattn.registry import MODELS


@MODELS.register_module()
class SE(nn.Module):
    """Squeeze-and-excitation: (N, C, H, W) in, the same shape out.

    With weights and biases of zero every gate is 1/2. Loads the weights of timm's ``SEModule`` and
    of torchvision's ``SqueezeExcitation`` (``fc1``, ``fc2``, 1 x 1 convolutions), given their
    number of hidden channels.

    Args:
        in_channels: Channels C of the input.
        reduction: r in the paper; C // r hidden channels, at least 1.
        hidden_channels: Their number itself, in place of ``reduction``: timm rounds it to
            multiples of 8.
        bias: Whether both layers have one.

    Example:
        >>> import torch
        >>> SE(32)(torch.ones(2, 32, 5, 7)).shape
        torch.Size([2, 32, 5, 7])
    """

    def __init__(
        self,
        in_channels: int,
        *,
        reduction: int = 16,
        hidden_channels: int | None = None,
        bias: bool = True,
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
        self.in_channels = in_channels
        self.fc1 = nn.Conv2d(in_channels, hidden_channels, 1, bias=bias)
        self.fc2 = nn.Conv2d(hidden_channels, in_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        z = x.mean((2, 3), keepdim=True, dtype=accumulate_dtype(x.dtype))  # (N, C, 1, 1)
        s = run_in_float32(self.fc2, run_in_float32(self.fc1, z).relu()).sigmoid()
        return apply_gates(x, channel=s.flatten(1))
