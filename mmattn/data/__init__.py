"""Datasets and what is checked about them before training.

Names are loaded at first use: the generator needs numpy and OpenCV only, the dataset classes need
mmseg.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "CamVidDataset": "mmattn.data.datasets",
    "FolderSegDataset": "mmattn.data.datasets",
    "ShapesDataset": "mmattn.data.datasets",
    "ShapesSceneGenerator": "mmattn.data.shapes",
    "write_shapes_dataset": "mmattn.data.shapes",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
