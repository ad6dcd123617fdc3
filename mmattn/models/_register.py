"""Registers the models of scope ``mmattn``; the registry imports this at its first look-up."""

from . import (  # noqa: F401
    encoder_decoder,
    fast_windows,
    ramped_ema,
    seg_tta,
    timm_attention,
    timm_backbone,
)
