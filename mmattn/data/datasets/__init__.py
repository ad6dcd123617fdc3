"""Data set classes; importing this registers them in scope ``mmattn``."""

from .camvid import CamVidDataset
from .shapes import ShapesDataset

__all__ = ["CamVidDataset", "ShapesDataset"]
