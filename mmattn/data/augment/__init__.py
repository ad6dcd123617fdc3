"""Augmentations of detectors that mix whole images; importing this registers them."""

from .beta_mix_up import BetaMixUp
from .flip_copy_paste import FlipCopyPaste
from .hsv_gain import HSVGain
from .mosaic_affine import MosaicAffine
from .rare_image_changes import RareImageChanges

__all__ = ["BetaMixUp", "FlipCopyPaste", "HSVGain", "MosaicAffine", "RareImageChanges"]
