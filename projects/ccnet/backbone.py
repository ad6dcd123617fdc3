"""Backbones of output stride 8 that CCNet needs and mmseg lacks."""

from __future__ import annotations

from mmseg.models.backbones import MobileNetV2, ResNetV1c

from mmattn.registry import MODELS


@MODELS.register_module()
class CeilPoolResNetV1c(ResNetV1c):
    """mmseg's ``ResNetV1c`` whose max pooling rounds sizes up, as in the authors' CCNet.

    Their ResNet-101 also needs ``stem_channels=128``, ``dilations=(1, 1, 2, 4)``,
    ``strides=(1, 2, 1, 1)`` and ``contract_dilation=False`` (the dilation holds for every block of
    a stage). For 769x769 both return 97x97; for 1024x2048, 129x257 here and 128x256 in mmseg.

    Args:
        **kwargs: Arguments of mmseg's ``ResNetV1c``.
    """

    def _make_stem_layer(self, in_channels: int, stem_channels: int) -> None:
        super()._make_stem_layer(in_channels, stem_channels)
        self.maxpool.ceil_mode = True


@MODELS.register_module()
class DilatedMobileNetV2(MobileNetV2):
    """mmseg's ``MobileNetV2`` on a denser grid, with the meaning of its weights unchanged.

    Beyond ``output_stride`` a stride of 2 becomes 1, and every later depthwise convolution doubles
    its dilation. So every second (fourth) position of the feature maps is exactly the strided
    network's output, and ImageNet weights stay valid. mmseg's own ``dilations`` widen the first
    block of a stage instead of the blocks that follow a removed stride, which changes the function.

    Args:
        output_stride: Output stride of the last feature map: 4, 8, 16 or 32.
        **kwargs: Arguments of mmseg's ``MobileNetV2`` except strides and dilations.
    """

    def __init__(self, *, output_stride: int = 8, **kwargs):
        if output_stride not in (4, 8, 16, 32):
            raise ValueError(f"output_stride must be 4, 8, 16 or 32, got {output_stride}")
        super().__init__(**kwargs)
        reached, dilation = 2, 1  # the first convolution halves the size
        for name in self.layers:
            for block in getattr(self, name):
                depthwise = block.conv[-2].conv
                stride = depthwise.stride[0]
                depthwise.dilation = depthwise.padding = (dilation, dilation)
                if reached * stride > output_stride:
                    depthwise.stride = (1, 1)
                    dilation *= stride
                else:
                    reached *= stride
