"""Data set classes; importing this registers them in scope ``mmattn``."""

from mmattn.data.edge_map import GenerateEdgeMap

from .camvid import CamVidDataset
from .folder import FolderSegDataset, LoadFolderMask
from .seeded import SeededDataset, SeededSampler
from .shapes import ShapesDataset

__all__ = [
    "CamVidDataset",
    "FolderSegDataset",
    "GenerateEdgeMap",
    "LoadFolderMask",
    "SeededDataset",
    "SeededSampler",
    "ShapesDataset",
]
