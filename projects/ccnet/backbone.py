"""The authors' backbone of CCNet: a dilated ResNet whose first pooling rounds sizes up."""

from __future__ import annotations

from mmseg.models.backbones import ResNetV1c

from mmattn.registry import MODELS


@MODELS.register_module()
class CeilPoolResNetV1c(ResNetV1c):
    """mmseg's ``ResNetV1c`` with ``ceil_mode`` in its max pooling.

    The authors' ResNet-101 needs ``stem_channels=128``, ``dilations=(1, 1, 2, 4)``,
    ``strides=(1, 2, 1, 1)`` and ``contract_dilation=False`` (the dilation holds for every block of
    a stage). Both give 97x97 for 769x769, but 1024x2048 gives 129x257 here and 128x256 in mmseg.

    Args:
        **kwargs: Those of mmseg's ``ResNetV1c``.
    """

    def _make_stem_layer(self, in_channels: int, stem_channels: int) -> None:
        super()._make_stem_layer(in_channels, stem_channels)
        self.maxpool.ceil_mode = True
