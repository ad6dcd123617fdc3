"""Building blocks that more than one system needs, and the adapters that put them into networks."""

from __future__ import annotations

from .segmentor import EncoderDecoder as EncoderDecoder
from .timm_backbone import TimmBackbone as TimmBackbone
from .tta_segmentor import SegTTAModel as SegTTAModel
from .with_plugins import WithPlugins as WithPlugins

__all__ = ["EncoderDecoder", "SegTTAModel", "TimmBackbone", "WithPlugins"]
