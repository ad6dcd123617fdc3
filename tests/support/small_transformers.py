"""Segmentors of mmseg and detectors of mmdet with transformers, narrow, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmattn.config import load_config

CONFIGS = Path(__file__).parent / "configs"


def segformer(**backbone: Any) -> Config:
    """SegFormer for images of 64 x 64: stages of 16 x 16 to 2 x 2 tokens."""
    cfg = load_config(str(CONFIGS / "tiny_fcn.py"))
    cfg.model.backbone = {
        "type": "MixVisionTransformer",
        "embed_dims": 8,
        "num_layers": [1, 1, 1, 1],
        "num_heads": [1, 2, 2, 2],
        "sr_ratios": [4, 2, 2, 1],
        **backbone,
    }
    cfg.model.decode_head = {
        "type": "SegformerHead",
        "in_channels": [8, 16, 16, 16],
        "in_index": [0, 1, 2, 3],
        "channels": 16,
        "num_classes": 10,
        "norm_cfg": {"type": "BN"},
        "align_corners": False,
    }
    return cfg


def segmenter(classes: int = 10, patch: int = 16) -> Config:
    """Segmenter for images of 64 x 64: patches, and a token for each class behind them."""
    cfg = load_config(str(CONFIGS / "tiny_fcn.py"))
    cfg.model.backbone = {
        "type": "VisionTransformer",
        "img_size": (64, 64),
        "patch_size": patch,
        "embed_dims": 16,
        "num_layers": 2,
        "num_heads": 2,
        "mlp_ratio": 2,
        "final_norm": True,
    }
    cfg.model.decode_head = {
        "type": "SegmenterMaskTransformerHead",
        "in_channels": 16,
        "channels": 16,
        "embed_dims": 16,
        "num_layers": 2,
        "num_heads": 2,
        "num_classes": classes,
        "dropout_ratio": 0.0,
    }
    return cfg
