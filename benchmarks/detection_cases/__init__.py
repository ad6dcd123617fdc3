"""Cases of ``benchmarks/detection.py``: one module per subject, with a function ``rows(device)``.

The rows are those of ``benchmarks/ops_cases``: contenders that compute the same from the same.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence

import torch
from ops_cases import Row
from torch import nn

#: Detectors of mmdet of about the size of YOLOv12-n and -s.
OTHERS = {
    "mmdet, YOLOX-tiny": "mmdet::yolox/yolox_tiny_8xb8-300e_coco.py",
    "mmdet, RTMDet-tiny": "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
}


def find_rows(device: str, subjects: Sequence[str] = ()) -> list[Row]:
    """Return the rows of some subjects, or of all, in the order of the modules' names.

    Raises:
        SystemExit: A subject has no module here.
    """
    known = sorted(info.name for info in pkgutil.iter_modules(__path__))
    unknown = sorted(set(subjects) - set(known))
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}; choose from {', '.join(known)}")
    rows: list[Row] = []
    for name in known:
        if not subjects or name in subjects:
            rows += importlib.import_module(f"{__name__}.{name}").rows(device)
    return rows


def build_detector(config: str, device: str) -> nn.Module:
    """Build the detector of a config in eval mode, with random weights."""
    from mmengine.registry import MODELS, init_default_scope

    from mmattn.config import load_config

    init_default_scope("mmdet")
    settings = load_config(config).model
    settings.backbone.pop("init_cfg", None)  # weights that would be downloaded
    torch.manual_seed(0)
    return MODELS.build(settings).eval().to(device)
