"""The functions of ``mmcv._ext`` that mmdet and mmseg call, in plain torch and torchvision.

They have mmcv's signatures: positional and keyword names as ``mmcv.ops`` passes them, results
written into tensors that the caller allocates. They run on any device and compute half precisions
in float32.
"""

from __future__ import annotations

from types import ModuleType

from . import (
    boxes,
    carafe,
    deform_conv,
    deform_roi_pool,
    focal_loss,
    info,
    line_nms,
    masked_conv,
    missing,
    ms_deform_attn,
    nms,
    psa_mask,
    roi_align,
    roi_pool,
)
from ._precision import without_autocast

_FAMILIES = (
    boxes,
    carafe,
    deform_conv,
    deform_roi_pool,
    focal_loss,
    info,
    line_nms,
    masked_conv,
    ms_deform_attn,
    nms,
    psa_mask,
    roi_align,
    roi_pool,
)

SUPPLIED = tuple(sorted(name for family in _FAMILIES for name in family.__all__))


def fill(module: ModuleType) -> None:
    """Make ``module`` a stand-in for ``mmcv._ext``; ops not supplied fail when called."""
    module.__doc__ = __doc__
    for family in _FAMILIES:
        for name in family.__all__:
            setattr(module, name, without_autocast(getattr(family, name)))
    module.__getattr__ = missing.module_getattr
