"""An embedded, procedural dataset for every task: nothing to download, nothing to commit.

>>> from mmattn.data.shapes import ShapesSceneGenerator
>>> ShapesSceneGenerator(size=(64, 96), seed=1).scene("train", 0).image.shape
(64, 96, 3)
"""

from .classes import CLASSES, PALETTE, STUFF_CLASSES, THING_CLASSES
from .scene import Scene, ShapesSceneGenerator
from .video import write_shapes_video
from .writer import write_shapes_dataset

__all__ = [
    "CLASSES",
    "PALETTE",
    "STUFF_CLASSES",
    "THING_CLASSES",
    "Scene",
    "ShapesSceneGenerator",
    "write_shapes_dataset",
    "write_shapes_video",
]
