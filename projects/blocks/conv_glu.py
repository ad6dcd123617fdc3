"""Convolutional gated linear unit of TransNeXt (Shi, CVPR 2024, arXiv:2311.17132).

A channel mixer: a gated linear unit whose gate sees the 3 x 3 positions around each one.

    [a, b] = W_1 x;     F' = W_2 (GELU(DW_3x3(a)) b)               with biases

In plain torch, on (N, C, H, W)::

    a, b = fc1(x).chunk(2, 1)
    return fc2(F.gelu(dwconv(a)) * b)

W_1 has 2 h rows with h = 2/3 r C rounded down, so that parameters are about those of an MLP that is
r times as wide as C. The gate may be of either sign and exceed 1: there are no ``attention_maps``.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.checks import require_at_least
from mmattn.layers.depthwise import DepthwiseConv2d
from mmattn.layers.heads import to_feature_map, to_tokens
from mmattn.layers.initial import init_transformer_layers
from mmattn.registry import MODELS


@MODELS.register_module()
class ConvGLU(nn.Module):
    """A gated linear unit whose gate is convolved.

    Args:
        in_channels: Channels C of the input.
        ratio: r, how much wider than C the MLP is that this block takes the place of.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Raises:
        ValueError: C is less than 1, or 2/3 r C is.

    Example:
        >>> import torch
        >>> ConvGLU(32)(torch.ones(2, 32, 5, 7)).shape
        torch.Size([2, 32, 5, 7])
    """

    usual_place: ClassVar[str] = "the MLP of TransNeXt's blocks"

    def __init__(self, in_channels: int, *, ratio: float = 4):
        super().__init__()
        require_at_least(1, in_channels=in_channels)
        hidden = int(2 * ratio * in_channels / 3)
        if hidden < 1:
            raise ValueError(
                f"ratio must leave a hidden channel, got {ratio} for {in_channels} channels"
            )
        self.fc1 = nn.Linear(in_channels, 2 * hidden)
        self.dwconv = _Nested(hidden)
        self.fc2 = nn.Linear(hidden, in_channels)
        self.init_weights()

    def init_weights(self) -> None:
        """Set the authors' initial state, also after a network has initialised all its layers."""
        conv = self.dwconv.dwconv
        nn.init.normal_(conv.weight, std=(2 / 9) ** 0.5)
        nn.init.zeros_(conv.bias)
        init_transformer_layers(self.fc1, self.fc2)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        gate, value = self.fc1(to_tokens(x)).chunk(2, 2)
        gate = F.gelu(to_tokens(self.dwconv.dwconv(to_feature_map(gate, size))))
        return to_feature_map(self.fc2(gate * value), size)


class _Nested(nn.Module):
    """The convolution, one level deeper than needed, as in the authors' files."""

    def __init__(self, channels: int):
        super().__init__()
        self.dwconv = DepthwiseConv2d(channels, 3)
