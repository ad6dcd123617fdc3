"""Custom operators: each has a plain-torch reference, and faster backends where they exist.

Imports torch alone, so ``mmattn.ops`` can be used without OpenMMLab.
"""

if not __name__.startswith("mmattn."):
    raise ImportError("import mmattn.ops, not custom_ops")

from ._operator import OPERATORS as OPERATORS
from ._operator import BackendError as BackendError
from ._operator import is_exporting as is_exporting
from ._operator import use_backend as use_backend
from ._precision import accumulate_dtype as accumulate_dtype
from ._precision import autocast_off as autocast_off
from ._precision import autocast_on as autocast_on
from .apply_gates import apply_gates as apply_gates
from .criss_cross import criss_cross_attention as criss_cross_attention
from .criss_cross import criss_cross_weights as criss_cross_weights
from .depthwise_conv2d import depthwise_conv2d as depthwise_conv2d
from .gated_channel_pool import gated_channel_pool as gated_channel_pool
from .global_avg_max_pool import global_avg_max_pool as global_avg_max_pool
from .modulated_deform_conv2d import deform_conv2d as deform_conv2d
from .modulated_deform_conv2d import export_deform_conv_as as export_deform_conv_as
from .modulated_deform_conv2d import modulated_deform_conv2d as modulated_deform_conv2d
from .multi_scale_deformable_attention import (
    export_deform_attention_as as export_deform_attention_as,
)
from .multi_scale_deformable_attention import (
    multi_scale_deformable_attention as multi_scale_deformable_attention,
)
from .neighborhood_attention import neighborhood_attention_2d as neighborhood_attention_2d
from .row_column_means import row_column_means as row_column_means
from .window_attention import window_attention as window_attention
