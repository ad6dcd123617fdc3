"""Squeeze-and-excitation (Hu et al., Squeeze-and-Excitation Networks, arXiv:1709.01507).

The mean of every channel, through two fully connected layers, scales that channel:

    z = mean_{y,x} F[:, y, x];   s = sigmoid(W2 relu(W1 z));   F'[c] = s[c] F[c]

In plain torch::

    s = fc2(fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()  # (N, C, 1, 1)
    return x * s

W1 narrows C channels to C / r, r = 16. The paper's count of parameters, 2 C^2 / r, leaves biases
out; public code has them, and so does this block unless ``bias=False``.

Differs from the authors' code: half precision and autocast compute s in float32; fewer than r
channels still leave one hidden channel.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from mmattn.layers.channel_gate import scale_channels
from mmattn.layers.checks import require_at_least
from mmattn.layers.precision import run_in_float32
from mmattn.ops import accumulate_dtype
from mmattn.registry import MODELS


@MODELS.register_module()
class SE(nn.Module):
    """One gate per channel, computed from the means of all channels.

    If all weights and biases are zero, every gate is 1/2. Loads the weights of timm's ``SEModule``
    and of torchvision's ``SqueezeExcitation`` (``fc1``, ``fc2``, 1 x 1 convolutions), given their
    number of hidden channels.

    Args:
        in_channels: Channels C of the input.
        reduction: r in the paper; C // r hidden channels, at least 1.
        hidden_channels: Number of hidden channels, in place of ``reduction``: timm rounds it to
            multiples of 8.
        bias: Whether both layers have a bias.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Example:
        >>> import torch
        >>> SE(32)(torch.ones(2, 32, 5, 7)).shape
        torch.Size([2, 32, 5, 7])
    """

    usual_place: ClassVar[str] = (
        "every residual block of a ResNet, after the last convolution, before the addition"
    )

    def __init__(
        self,
        in_channels: int,
        *,
        reduction: int = 16,
        hidden_channels: int | None = None,
        bias: bool = True,
    ):
        super().__init__()
        require_at_least(
            1, in_channels=in_channels, reduction=reduction, hidden_channels=hidden_channels
        )
        if hidden_channels is None:
            hidden_channels = max(in_channels // reduction, 1)
        self.in_channels = in_channels
        self.fc1 = nn.Conv2d(in_channels, hidden_channels, 1, bias=bias)
        self.fc2 = nn.Conv2d(hidden_channels, in_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return scale_channels(x, self.gate(x))

    def gate(self, x: Tensor) -> Tensor:
        """Return s. Shape (N, C, H, W) -> (N, C, 1, 1), at least float32."""
        dtype = accumulate_dtype(x.dtype)
        z = x.mean((2, 3), True) if x.dtype == dtype else x.mean((2, 3), True, dtype=dtype)
        return run_in_float32(self.fc2, run_in_float32(self.fc1, z).relu()).sigmoid()

    def attention_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the gate, ``"channel"``, of shape (N, C, 1, 1)."""
        return {"channel": self.gate(x)}
