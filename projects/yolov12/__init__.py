"""YOLOv12: attention-centric real-time detection (Tian, Ye and Doermann, arXiv:2502.12524)."""

from . import convert as convert
from .area_attention import AreaAttention as AreaAttention
from .backbone import YOLOv12Backbone as YOLOv12Backbone
from .head import YOLOv12Head as YOLOv12Head
from .neck import YOLOv12Neck as YOLOv12Neck
from .r_elan import ABlock as ABlock
