"""Dynamic Head: unifying object detection heads with attentions (Dai et al., arXiv:2106.08322)."""

from . import convert as convert
from .block import DynamicHeadBlock as DynamicHeadBlock
from .neck import DynamicHead as DynamicHead
