"""The functions of ``mmcv._ext`` that mmdet and mmseg call."""

from __future__ import annotations

from types import ModuleType


def fill(module: ModuleType) -> None:
    """Fill ``module`` with the functions of ``mmcv._ext``."""
    raise NotImplementedError
