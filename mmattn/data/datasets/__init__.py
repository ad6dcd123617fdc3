"""Dataset classes; importing this registers them in scope ``mmattn``."""

from mmattn.data.class_balanced_crop import ClassBalancedCrop
from mmattn.data.edge_map import GenerateEdgeMap
from mmattn.data.load_image import LoadImageFromFile

from .camvid import CamVidDataset
from .folder import FolderSegDataset, LoadFolderMask
from .seeded import SeededDataset, SeededSampler
from .shapes import ShapesDataset

__all__ = [
    "CamVidDataset",
    "ClassBalancedCrop",
    "FolderSegDataset",
    "GenerateEdgeMap",
    "LoadFolderMask",
    "LoadImageFromFile",
    "SeededDataset",
    "SeededSampler",
    "ShapesDataset",
]
