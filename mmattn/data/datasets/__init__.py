"""Dataset classes and a sampler; the registry imports this at its first look-up."""

from .camvid import CamVidDataset
from .cityscapes_panoptic import CityscapesPanopticDataset
from .folder import FolderSegDataset
from .multi_image_mix import MultiImageMixDataset
from .seeded import SeededDataset, SeededSampler
from .shapes import ShapesDataset

__all__ = [
    "CamVidDataset",
    "CityscapesPanopticDataset",
    "FolderSegDataset",
    "MultiImageMixDataset",
    "SeededDataset",
    "SeededSampler",
    "ShapesDataset",
]
