"""Steps of data pipelines; the registry imports this at its first look-up."""

from .beta_mix_up import BetaMixUp
from .class_balanced_crop import ClassBalancedCrop
from .edge_map import GenerateEdgeMap
from .flip_copy_paste import FlipCopyPaste
from .hsv_gain import HSVGain
from .load_folder_mask import LoadFolderMask
from .load_image import LoadImageFromFile
from .mosaic_affine import MosaicAffine
from .rare_image_changes import RareImageChanges

__all__ = [
    "BetaMixUp",
    "ClassBalancedCrop",
    "FlipCopyPaste",
    "GenerateEdgeMap",
    "HSVGain",
    "LoadFolderMask",
    "LoadImageFromFile",
    "MosaicAffine",
    "RareImageChanges",
]
