"""One network for all token mixers (after Hu et al., TPAMI 2025, arXiv:2211.05781)."""

from .backbone import TokenMixerHost as TokenMixerHost
from .depthwise_mixer import DepthwiseMixer as DepthwiseMixer
