"""Datasets: classes for mmdet and mmseg, a user's folder, and a generator of images.

Names are loaded at first use: the generator needs numpy and OpenCV only, the dataset classes need
mmseg.
"""

from __future__ import annotations

from mmattn.lazy import lazy_attributes

__getattr__, __dir__, __all__ = lazy_attributes(
    __name__,
    {
        "CamVidDataset": "datasets",
        "FolderSegDataset": "datasets",
        "ShapesDataset": "datasets",
        "ShapesSceneGenerator": "shapes",
        "write_shapes_dataset": "shapes",
    },
)
