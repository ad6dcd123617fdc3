"""Configs that train in seconds, and the chance that a comparison must hold equal."""

from __future__ import annotations

from pathlib import Path

CONFIGS = Path(__file__).resolve().parent / "configs"
FCN, RETINANET = str(CONFIGS / "tiny_fcn.py"), str(CONFIGS / "tiny_retinanet.py")
MASK2FORMER = str(CONFIGS / "tiny_mask2former.py")
MASK2FORMER_INSTANCE = str(CONFIGS / "tiny_mask2former_instance.py")
MASK2FORMER_PANOPTIC = str(CONFIGS / "tiny_mask2former_panoptic.py")
# Augmentation that draws from numpy and from ``random``, and dropout: what must be held equal.
RANDOM = {
    "train_dataloader.dataset.pipeline": [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations"},
        {"type": "RandomResize", "scale": (96, 64), "ratio_range": (0.8, 1.4), "keep_ratio": True},
        {"type": "RandomCrop", "crop_size": (48, 48)},
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "PhotoMetricDistortion"},
        {"type": "PackSegInputs"},
    ],
    "model.decode_head.dropout_ratio": 0.5,
}
