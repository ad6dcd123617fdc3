"""BEVANet: bilateral efficient visual attention for real-time segmentation (ICIP 2025)."""

from . import convert as convert
from .backbone import BEVANet as BEVANet
from .classifier import BEVANetClassifier as BEVANetClassifier
from .classifier import MixedCrossEntropy as MixedCrossEntropy
from .eva_block import EVABlock as EVABlock
from .head import BEVAHead as BEVAHead
from .loss import AllPixelCrossEntropy as AllPixelCrossEntropy
from .loss import HardPixelCrossEntropy as HardPixelCrossEntropy
