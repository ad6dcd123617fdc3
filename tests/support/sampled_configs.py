"""Configs that mmdet and mmseg bring along."""

from __future__ import annotations

import random
from pathlib import Path

from mmattn.config import find_config

_KNOWN = {
    "mmdet": "retinanet/retinanet_r50_fpn_1x_coco.py",
    "mmseg": "fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py",
}


def sample_of(package: str, number: int) -> list[Path]:
    """Return some configs of an installed package, always the same ones."""
    root = find_config(f"{package}::{_KNOWN[package]}").parents[1]
    files = sorted(file for file in root.rglob("*.py") if "_base_" not in file.parts)
    return random.Random(0).sample(files, number)
