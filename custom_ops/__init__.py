"""Custom operators: each has a plain-torch reference, and faster backends where they exist.

Imports torch alone, so ``mmattn.ops`` can be used without OpenMMLab.
"""

if not __name__.startswith("mmattn."):
    raise ImportError("import mmattn.ops, not custom_ops")

from ._library import BackendError as BackendError
from ._library import use_backend as use_backend
from .apply_gates import apply_gates as apply_gates
from .criss_cross import criss_cross_attention as criss_cross_attention
from .criss_cross import criss_cross_weights as criss_cross_weights
from .depthwise_conv2d import depthwise_conv2d as depthwise_conv2d
from .gated_channel_max_mean import gated_channel_max_mean as gated_channel_max_mean
from .global_mean_max import global_mean_max as global_mean_max
from .modulated_deform_conv2d import deform_conv2d as deform_conv2d
from .modulated_deform_conv2d import export_deform_conv_as as export_deform_conv_as
from .modulated_deform_conv2d import modulated_deform_conv2d as modulated_deform_conv2d
from .multi_scale_deformable_attention import (
    multi_scale_deformable_attention as multi_scale_deformable_attention,
)
from .strip_means import strip_means as strip_means
