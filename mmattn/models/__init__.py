"""Models that stand in for those of mmseg and mmdet: drop-ins, averages, timm's, faster Swins."""

from __future__ import annotations

from mmattn.lazy import lazy_attributes

__getattr__, __dir__, __all__ = lazy_attributes(
    __name__,
    {
        "EncoderDecoder": "encoder_decoder",
        "RampedEMA": "ramped_ema",
        "SegTTAModel": "seg_tta",
        "TimmBackbone": "timm_backbone",
        "WithFastWindows": "fast_windows",
    },
)
