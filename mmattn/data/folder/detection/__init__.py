"""Meaning of a folder of boxes, instance masks or panoptic maps: its format, splits and classes.

``mmattn.FolderDetDataset`` puts these together. Everything here reads; nothing is ever written.
"""

from .content import BoxClasses, BoxFolder, class_findings
from .layout import LAYOUTS, TARGETS, find_box_layout
from .records import BoxImage, BoxObject, BoxRecords, Finding, Place
from .sources import FORMS, BoxLayout

__all__ = [
    "FORMS",
    "LAYOUTS",
    "TARGETS",
    "BoxClasses",
    "BoxFolder",
    "BoxImage",
    "BoxLayout",
    "BoxObject",
    "BoxRecords",
    "Finding",
    "Place",
    "class_findings",
    "find_box_layout",
]
