"""CamVid: street scenes with eleven classes (Brostow et al., 2009; the SegNet tutorial's copy)."""

from __future__ import annotations

import os

from mmseg.datasets import BaseSegDataset

from mmattn.registry import DATASETS

_UNLABELLED = 11


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """367 train, 101 val and 233 test images of 480 x 360 pixels in eleven classes.

    Layout under ``data_root``: ``images/{train,val,test}`` and ``annotations/{train,val,test}``
    with a mask of the same stem for each image; the configs use train and val. Images are PNGs as
    ``mmattn data prepare camvid`` writes them, or JPEGs; the folder tells. Masks hold 0..10 in
    the order of ``METAINFO["classes"]`` and 11 where nothing was labelled. Training and metric see
    255 there, the value that both ignore: the mapping is done by the usual ``LoadAnnotations``
    through ``label_map``, so the files stay as they are distributed.

    Args:
        data_prefix: Folders of images and masks.
        img_suffix: Ending of the images; by default ``.png`` if the folder has such files, else
            ``.jpg``.
        **kwargs: As in ``BaseSegDataset``. ``metainfo=dict(classes=...)`` may name a subset of the
            classes; the others are ignored then.
    """

    METAINFO = {
        "classes": (
            "sky",
            "building",
            "pole",
            "road",
            "pavement",
            "tree",
            "sign symbol",
            "fence",
            "car",
            "pedestrian",
            "bicyclist",
        ),
        "palette": [
            [128, 128, 128],
            [128, 0, 0],
            [192, 192, 128],
            [128, 64, 128],
            [60, 40, 222],
            [128, 128, 0],
            [192, 128, 128],
            [64, 64, 128],
            [64, 0, 128],
            [64, 64, 0],
            [0, 128, 192],
        ],
    }

    def __init__(
        self,
        data_prefix: dict | None = None,
        img_suffix: str | None = None,
        data_root: str | None = None,
        **kwargs,
    ) -> None:
        if data_prefix is None:
            data_prefix = {"img_path": "images/train", "seg_map_path": "annotations/train"}
        if img_suffix is None:
            img_suffix = _suffix(os.path.join(data_root or "", data_prefix.get("img_path") or ""))
        super().__init__(
            data_prefix=data_prefix, img_suffix=img_suffix, data_root=data_root, **kwargs
        )

    @classmethod
    def get_label_map(cls, new_classes=None) -> dict[int, int]:
        """Mask value to label; 255 for classes not in use and for the unlabelled pixels."""
        chosen = super().get_label_map(new_classes)
        if chosen is None:
            chosen = {index: index for index in range(len(cls.METAINFO["classes"]))}
        return {**chosen, _UNLABELLED: 255}


def _suffix(folder: str) -> str:
    """Return how images in a folder end; ``.jpg`` where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return ".png" if any(entry.name.endswith(".png") for entry in entries) else ".jpg"
    except OSError:
        return ".jpg"
