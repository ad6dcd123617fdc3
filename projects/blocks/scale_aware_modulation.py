"""Scale-aware modulation of SMT (Lin et al., ICCV 2023, arXiv:2307.08579).

Groups of channels pass depthwise convolutions of different sizes; a small grouped projection mixes
the sizes, and the result multiplies a linear map of the input. With M heads of d = C / M channels,

    v = W_v x;   z = W_s x
    u^m = DW_{(2m+1) x (2m+1)}(z^m) + b                        m = 1 .. M: kernels 3, 5, 7, 9
    t[g M + m] = u^m[g]                                        g = 0 .. d-1: sizes side by side
    t = conv1x1(GELU(BN(conv1x1_{d groups}(t))))               C -> e C -> C
    F' = W_o (t v) + b_o

In plain torch, on (N, C, H, W)::

    parts = [conv(part) for conv, part in zip(convs, s(x).chunk(M, 1))]
    t = torch.stack(parts, 2).flatten(1, 2)
    return proj(proj1(F.gelu(bn(proj0(t)))) * v(x))

There is no softmax and no attention: the convolutions say how much of v passes, of either sign, so
there are no ``attention_maps``. No size is special.

Differs from the authors' code: the modulator is not kept as an attribute between steps; a single
image of 1 x 1 can be trained on (theirs fails: the batch norm sees one value).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.batch_norm import LenientBatchNorm2d
from mmattn.layers.checks import require_at_least
from mmattn.layers.depthwise import DepthwiseConv2d
from mmattn.layers.heads import resolve_num_heads, to_feature_map, to_tokens
from mmattn.layers.initial import init_transformer_layers
from mmattn.registry import MODELS


@MODELS.register_module()
class ScaleAwareModulation(nn.Module):
    """A linear map of the input times a mixture of depthwise convolutions of several sizes.

    Args:
        in_channels: Channels C, a multiple of ``num_heads``.
        num_heads: M, the number of kernel sizes; the largest is 2 M + 1.
        expand_ratio: e, how much wider than C the mixture is between its two layers.
        qkv_bias: Whether the two linear maps of the input have a bias.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Raises:
        ValueError: C is no multiple of ``num_heads``, or a number is less than 1.

    Example:
        >>> import torch
        >>> ScaleAwareModulation(32)(torch.ones(2, 32, 5, 7)).shape
        torch.Size([2, 32, 5, 7])
    """

    usual_place: ClassVar[str] = (
        "the mixer of SMT's blocks: all of them in stages 1 and 2, every other one in stage 3, "
        "where attention takes turns with it"
    )

    def __init__(
        self,
        in_channels: int,
        *,
        num_heads: int = 4,
        expand_ratio: int = 2,
        qkv_bias: bool = True,
    ):
        super().__init__()
        self.num_heads = resolve_num_heads(in_channels, num_heads)
        require_at_least(1, expand_ratio=expand_ratio)
        channels, wide = in_channels // num_heads, expand_ratio * in_channels
        # The authors' names.
        self.v = nn.Linear(in_channels, in_channels, bias=qkv_bias)
        self.s = nn.Linear(in_channels, in_channels, bias=qkv_bias)
        for m in range(1, num_heads + 1):
            self.add_module(f"local_conv_{m}", DepthwiseConv2d(channels, 2 * m + 1))
        self.proj0 = nn.Conv2d(in_channels, wide, 1, groups=channels)
        self.bn = LenientBatchNorm2d(wide)
        self.proj1 = nn.Conv2d(wide, in_channels, 1)
        self.proj = nn.Linear(in_channels, in_channels)
        self.init_weights()

    def init_weights(self) -> None:
        """Set the authors' initial state, also after a network has initialised all its layers."""
        for layer in self.children():
            if isinstance(layer, nn.BatchNorm2d):
                layer.reset_parameters()
            elif isinstance(layer, nn.Linear):
                init_transformer_layers(layer)
            elif isinstance(layer, nn.Conv2d):
                fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels
                nn.init.normal_(layer.weight, std=(2 * layer.groups / fan_out) ** 0.5)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        tokens = to_tokens(x)
        modulator = self._modulator(to_feature_map(self.s(tokens), x.shape[2:]))
        out = self.proj(to_tokens(modulator) * self.v(tokens))
        return to_feature_map(out, x.shape[2:])

    def _modulator(self, z: Tensor) -> Tensor:
        """Return t, (N, C, H, W), from z, of the same shape."""
        parts = z.chunk(self.num_heads, 1)
        sizes = [
            self.get_submodule(f"local_conv_{m}")(part) for m, part in enumerate(parts, start=1)
        ]
        mixed = self.proj0(torch.stack(sizes, 2).flatten(1, 2))
        return self.proj1(F.gelu(self.bn(mixed)))

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}"
