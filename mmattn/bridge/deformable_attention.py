"""Runs mmcv's ``MultiScaleDeformableAttention`` on our operator.

mmcv has no kernel for the CPU, nor for bfloat16 anywhere: there its layer samples with
``grid_sample``, level by level, and keeps every sample for the backward pass. That function is
replaced by our operator, which gives the same numbers, wherever the operator has a kernel; where
it has none, mmcv's function stays the one that runs. A compiled ``mmcv._ext`` keeps its part.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import ModuleType

from torch import Tensor


def use_our_operator(attention_module: ModuleType) -> None:
    """Replace the composition in ``mmcv.ops.multi_scale_deform_attn``, once.

    The original stays reachable as ``multi_scale_deformable_attn_pytorch.__wrapped__``.
    """
    from mmattn.ops import is_exporting, multi_scale_deformable_attention
    from mmattn.ops.multi_scale_deformable_attention import operator

    original = attention_module.multi_scale_deformable_attn_pytorch
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def attend(
        value: Tensor,
        value_spatial_shapes: Tensor | Sequence[Sequence[int]],
        sampling_locations: Tensor,
        attention_weights: Tensor,
    ) -> Tensor:
        # A graph that is exported gets ours in any case: its sizes are numbers, and it can be
        # made of lookups instead of grid samples (mmattn.ops.export_deform_attention_as).
        if not is_exporting():
            facts = (value.device.type, value.dtype, value.shape[-1])
            if operator.choose(*facts) == "reference":
                return original(value, value_spatial_shapes, sampling_locations, attention_weights)
        shapes = value_spatial_shapes
        shapes = (
            shapes.tolist() if isinstance(shapes, Tensor) else [tuple(map(int, s)) for s in shapes]
        )
        return multi_scale_deformable_attention(
            value, shapes, sampling_locations, attention_weights
        )

    attention_module.multi_scale_deformable_attn_pytorch = attend
    if attention_module.ext_module.__spec__.origin == "mmattn.bridge.ext":
        # mmcv's other path is for its compiled kernel, and rounds locations to value's dtype.
        attention_module.IS_CUDA_AVAILABLE = False
