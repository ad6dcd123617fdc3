"""A U-Net whose decoder gates what the skip connections bring (Oktay et al., arXiv:1804.03999).

    g_i = the decoder's output one level below; for the coarsest, relu(BN(conv1x1(bottleneck)))
    s_i = relu(BN(conv1x1(gate(skip_i, g_i))))              for every level i that is gated
    d_i = convs(cat(s_i, up(d_{i+1})))

The paper gates all levels but the finest, where a skip connection has seen too little of the image.
Encoder, upsampling and convolutions are those of mmseg's ``UNet``, whose checkpoints load but for
the gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, ModuleDict
from mmseg.models.backbones import UNet
from torch import Tensor

from mmattn.registry import MODELS


@MODELS.register_module()
class GatedUNet(UNet):
    """mmseg's ``UNet`` with attention gates, for any of mmseg's heads.

    Args:
        gated: Levels that are gated, 0 for the finest; by default all others.
        gate: Config of the gate, a module of a skip connection and a coarser feature map that takes
            the channels of both first.
        **kwargs: Arguments of ``mmseg.UNet``.

    Raises:
        ValueError: ``gated`` names a level that the decoder does not have.

    Shape:
        (N, C, H, W) -> feature maps from the bottleneck to the finest; H and W are multiples of the
        encoder's stride.
    """

    def __init__(
        self,
        *,
        gated: Sequence[int] | None = None,
        gate: dict | None = None,
        **kwargs: Any,
    ):
        # With its scope, so that the network can also be built for mmdet.
        super().__init__(**{"upsample_cfg": {"type": "mmseg.InterpConv"}, **kwargs})
        levels = range(len(self.decoder))
        gated = levels[1:] if gated is None else gated
        if wrong := sorted(set(gated) - set(levels)):
            raise ValueError(f"gated names the levels {wrong}; the decoder has {list(levels)}")
        channels = [self.base_channels * 2**level for level in range(len(self.decoder) + 1)]
        layers = {
            "norm_cfg": kwargs.get("norm_cfg", {"type": "BN"}),
            "act_cfg": kwargs.get("act_cfg", {"type": "ReLU"}),
        }
        self.gates = ModuleDict(
            {
                # As wide inside as the skip connection, as in the authors' network.
                str(level): _GatedSkip(
                    channels[level],
                    channels[level + 1],
                    {"type": "mmattn.AttentionGate", "hidden_channels": channels[level]}
                    if gate is None
                    else gate,
                    layers,
                )
                for level in sorted(set(gated))
            }
        )
        self.gating = None
        if str(levels[-1]) in self.gates:
            self.gating = ConvModule(channels[-1], channels[-1], 1, bias=True, **layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        self._check_input_divisible(x)
        skips = []
        for encode in self.encoder:
            x = encode(x)
            skips.append(x)
        outputs, signal = [x], x
        if self.gating is not None:
            signal = self.gating(x)
        for level in reversed(range(len(self.decoder))):
            skip = skips[level]
            if str(level) in self.gates:
                skip = self.gates[str(level)](skip, signal)
            x = signal = self.decoder[level](skip, x)
            outputs.append(x)
        return outputs


class _GatedSkip(BaseModule):
    """A gate and the convolution behind it: (N, F_l, H, W) -> (N, F_l, H, W)."""

    def __init__(self, channels: int, gating_channels: int, gate: dict, layers: dict[str, Any]):
        super().__init__()
        arguments = {"in_channels": channels, "gating_channels": gating_channels}
        self.gate = MODELS.build({**gate, **arguments})
        self.combine = ConvModule(channels, channels, 1, bias=True, **layers)

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        return self.combine(self.gate(skip, coarse))
