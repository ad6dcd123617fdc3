"""Data set classes; importing this registers them in scope ``mmattn``."""

from .camvid import CamVidDataset
from .folder import FolderSegDataset, LoadFolderMask
from .seeded import SeededDataset, SeededSampler
from .shapes import ShapesDataset

__all__ = [
    "CamVidDataset",
    "FolderSegDataset",
    "LoadFolderMask",
    "SeededDataset",
    "SeededSampler",
    "ShapesDataset",
]
