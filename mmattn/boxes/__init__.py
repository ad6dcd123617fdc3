"""Meaning of a folder of boxes, instance masks or panoptic maps: its format, splits and classes.

``mmattn.FolderDetDataset`` (``dataset.py``) puts these together. Everything here reads; nothing is
ever written. Names are loaded at first use: the dataset needs mmdet, the rest does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmattn.lazy import lazy_attributes

if TYPE_CHECKING:
    from .content import BoxClasses as BoxClasses
    from .content import BoxFolder as BoxFolder
    from .content import class_findings as class_findings
    from .content import forget_records as forget_records
    from .dataset import FolderDetDataset as FolderDetDataset
    from .layout import find_box_layout as find_box_layout
    from .records import BoxImage as BoxImage
    from .records import BoxObject as BoxObject
    from .records import BoxRecords as BoxRecords
    from .records import Finding as Finding
    from .records import Place as Place

__getattr__, __dir__, __all__ = lazy_attributes(
    __name__,
    {
        "BoxClasses": "content",
        "BoxFolder": "content",
        "BoxImage": "records",
        "BoxObject": "records",
        "BoxRecords": "records",
        "Finding": "records",
        "FolderDetDataset": "dataset",
        "Place": "records",
        "class_findings": "content",
        "find_box_layout": "layout",
        "forget_records": "content",
    },
)
