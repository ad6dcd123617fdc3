"""Mask2Former: masked attention for every segmentation task (Cheng et al., arXiv:2112.01527).

``mmattn.projects.mask2former.detection`` holds what needs mmdet, and is left out without it; mmseg
is not needed by any of it.
"""

from mmattn.plugin_imports import import_plugin

from . import convert as convert
from .decode_head import Mask2FormerDecodeHead as Mask2FormerDecodeHead
from .loss import MaskMatchingLoss as MaskMatchingLoss
from .network import Mask2FormerNetwork as Mask2FormerNetwork
from .pixel_decoder import PixelDecoder as PixelDecoder
from .predictions import MaskPredictions as MaskPredictions

import_plugin("mmattn.projects.mask2former.detection")
