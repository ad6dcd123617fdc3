"""ECA-Net: efficient channel attention (Wang et al., CVPR 2020)."""

from . import convert as convert
from .eca import ECA as ECA
from .eca import kernel_rule as kernel_rule
