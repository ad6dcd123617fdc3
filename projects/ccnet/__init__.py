"""CCNet: criss-cross attention for semantic segmentation (Huang et al., ICCV 2019, TPAMI 2020)."""

from . import convert as convert
from .attention import CrissCrossAttention as CrissCrossAttention
from .backbone import CeilPoolResNetV1c as CeilPoolResNetV1c
from .backbone import DilatedMobileNetV2 as DilatedMobileNetV2
from .head import CCHead as CCHead
from .head import DeepSupervisionHead as DeepSupervisionHead
from .loss import CategoryConsistentLoss as CategoryConsistentLoss
from .plugin_resnet import StagePluginResNet as StagePluginResNet
