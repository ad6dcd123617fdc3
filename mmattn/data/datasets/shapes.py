"""The generated shapes as a semantic segmentation dataset."""

from __future__ import annotations

from mmseg.datasets import BaseSegDataset

from mmattn.data.shapes.classes import CLASSES, PALETTE
from mmattn.registry import DATASETS


@DATASETS.register_module()
class ShapesDataset(BaseSegDataset):
    """Six shapes (things) on four grounds (stuff), written by ``mmattn data shapes``.

    The label maps hold 0..9, the positions in ``METAINFO["classes"]``; no pixel is ignored. The
    detection, instance and panoptic files of the same folder are COCO's and are read by mmdet's own
    datasets.
    """

    METAINFO = {"classes": CLASSES, "palette": [list(colour) for colour in PALETTE]}
