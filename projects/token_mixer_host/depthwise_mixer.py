"""The convolution as a token mixer, with projections of its own as attention has.

    F' = conv1x1(DW_7x7(conv1x1(x)))                      with biases

So are convolution and attention compared on equal terms (Hu et al., arXiv:2211.05781).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from mmattn.layers.checks import require_at_least, require_odd
from mmattn.layers.depthwise import DepthwiseConv2d
from mmattn.layers.heads import to_feature_map, to_tokens
from mmattn.registry import MODELS


@MODELS.register_module()
class DepthwiseMixer(nn.Module):
    """A depthwise convolution between two projections.

    Args:
        in_channels: Channels C of the input.
        kernel_size: Side of the kernel, odd.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Raises:
        ValueError: C is less than 1, or the kernel size is even.
    """

    usual_place: ClassVar[str] = "the mixer of the host's blocks (mmattn.TokenMixerHost)"

    def __init__(self, in_channels: int, *, kernel_size: int = 7):
        super().__init__()
        require_at_least(1, in_channels=in_channels)
        require_odd(kernel_size=kernel_size)
        self.input_proj = nn.Linear(in_channels, in_channels)
        self.dwconv = DepthwiseConv2d(in_channels, kernel_size)
        self.out_proj = nn.Linear(in_channels, in_channels)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        y = self.dwconv(to_feature_map(self.input_proj(to_tokens(x)), size))
        return to_feature_map(self.out_proj(to_tokens(y)), size)
