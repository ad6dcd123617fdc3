"""Mask2Former for mmdet: detector, head, and the head that turns masks into results."""

from .detector import Mask2Former as Mask2Former
from .fusion_head import Mask2FormerFusionHead as Mask2FormerFusionHead
from .head import Mask2FormerHead as Mask2FormerHead
