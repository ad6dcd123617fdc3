"""Meaning of a folder of images and masks: its layout, its classes, and how masks become labels.

``mmattn.FolderSegDataset`` puts these together. Everything here reads; nothing is ever written.
"""

from .classes_file import IGNORE, FolderClasses, read_classes
from .layout import FolderLayout, find_layout
from .mask_format import check_halves, choose_format, classes_from_masks
from .mask_reader import MASK_FORMATS, MaskReader
from .survey import MaskSurvey, survey_masks

__all__ = [
    "IGNORE",
    "MASK_FORMATS",
    "FolderClasses",
    "FolderLayout",
    "MaskReader",
    "MaskSurvey",
    "check_halves",
    "choose_format",
    "classes_from_masks",
    "find_layout",
    "read_classes",
    "survey_masks",
]
