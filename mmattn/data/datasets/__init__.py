"""Dataset classes; importing this registers them in scope ``mmattn``."""

from mmattn.data.augment import (
    BetaMixUp,
    FlipCopyPaste,
    HSVGain,
    MosaicAffine,
    RareImageChanges,
)
from mmattn.data.class_balanced_crop import ClassBalancedCrop
from mmattn.data.edge_map import GenerateEdgeMap
from mmattn.data.load_image import LoadImageFromFile

from .camvid import CamVidDataset
from .cityscapes_panoptic import CityscapesPanopticDataset
from .folder import FolderSegDataset, LoadFolderMask
from .multi_image_mix import MultiImageMixDataset
from .seeded import SeededDataset, SeededSampler
from .shapes import ShapesDataset

__all__ = [
    "BetaMixUp",
    "CamVidDataset",
    "CityscapesPanopticDataset",
    "ClassBalancedCrop",
    "FlipCopyPaste",
    "FolderSegDataset",
    "GenerateEdgeMap",
    "HSVGain",
    "LoadFolderMask",
    "LoadImageFromFile",
    "MosaicAffine",
    "MultiImageMixDataset",
    "RareImageChanges",
    "SeededDataset",
    "SeededSampler",
    "ShapesDataset",
]
