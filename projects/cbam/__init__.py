"""CBAM: convolutional block attention module (Woo et al., ECCV 2018)."""

from . import convert as convert
from .cbam import CBAM as CBAM
