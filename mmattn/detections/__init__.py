"""Detections as data: boxes of an image, how they are merged, drawn, cut out and written.

Whatever computed them, torch or an exported file, they are the same from here on. Imports no torch.
"""

from __future__ import annotations

from .coco_file import CocoFile
from .crops import write_crops
from .detections import Detections, box_ious, nms
from .draw import draw_detections
from .tiles import detect_in_tiles, merge_tiles, tile_origins

__all__ = [
    "CocoFile",
    "Detections",
    "box_ious",
    "detect_in_tiles",
    "draw_detections",
    "merge_tiles",
    "nms",
    "tile_origins",
    "write_crops",
]
