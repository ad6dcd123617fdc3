"""Mask2Former: masked attention for every segmentation task (Cheng et al., arXiv:2112.01527)."""

from .network import Mask2FormerNetwork as Mask2FormerNetwork
from .pixel_decoder import PixelDecoder as PixelDecoder
from .predictions import MaskPredictions as MaskPredictions
