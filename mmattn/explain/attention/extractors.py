"""Which function reads the attention of which class of layers.

A function gets the module, its arguments and its output, and returns the weights and an output that
is computed from them. A new layer needs one more function and one more line here; names are those
of classes, so that nothing is imported before a network has such a layer.
"""

from __future__ import annotations

from .deformable import deformable_self_attention, mmcv_deformable_attention
from .dense import (
    area_attention,
    conditional_attention,
    mask2former_attention,
    multihead_attention,
    timm_attention,
)
from .layer import Extractor
from .local import (
    criss_cross_attention,
    neighborhood_attention,
    neighborhood_block,
    shifted_windows,
)

_PROJECTS = "mmattn.projects"

#: Name of a class -> the function for it and the classes that are derived from it.
EXTRACTORS: dict[str, Extractor] = {
    "torch.nn.modules.activation.MultiheadAttention": multihead_attention,
    "mmcv.ops.multi_scale_deform_attn.MultiScaleDeformableAttention": mmcv_deformable_attention,
    "mmdet.models.layers.transformer.utils.ConditionalAttention": conditional_attention,
    "mmdet.models.backbones.swin.ShiftWindowMSA": shifted_windows,
    "mmseg.models.backbones.swin.ShiftWindowMSA": shifted_windows,
    "timm.layers.attention.Attention": timm_attention,
    f"{_PROJECTS}.mask2former.attention.MultiheadAttention": mask2former_attention,
    f"{_PROJECTS}.mask2former.deformable_attention.DeformableSelfAttention": (
        deformable_self_attention
    ),
    f"{_PROJECTS}.nat.backbone.NATBlock": neighborhood_block,
    f"{_PROJECTS}.nat.attention.NeighborhoodAttention": neighborhood_attention,
    f"{_PROJECTS}.yolov12.area_attention._AttentionOfViews": area_attention,
    f"{_PROJECTS}.ccnet.attention.CrissCrossAttention": criss_cross_attention,
}
