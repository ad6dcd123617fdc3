"""Data set classes; importing this registers them in scope ``mmattn``."""

from .camvid import CamVidDataset
from .seeded import SeededDataset, SeededSampler
from .shapes import ShapesDataset

__all__ = ["CamVidDataset", "SeededDataset", "SeededSampler", "ShapesDataset"]
