"""Registers the models of scope ``mmattn``; the registry imports this at its first look-up."""

from . import encoder_decoder, ramped_ema, seg_tta, timm_attention, timm_backbone  # noqa: F401
