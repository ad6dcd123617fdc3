"""Cityscapes' panoptic maps as its own script writes them, for mmdet's panoptic networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from mmdet.datasets import CocoPanopticDataset
from mmdet.datasets.api_wrappers import COCOPanoptic

from mmattn.errors import DataError
from mmattn.registry import DATASETS

_THINGS = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
_STUFF = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky"),
)
_PALETTE = [
    *((220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100)),
    *((0, 0, 230), (119, 11, 32), (128, 64, 128), (244, 35, 232), (70, 70, 70)),
    *((102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30), (220, 220, 0)),
    *((107, 142, 35), (152, 251, 152), (70, 130, 180)),
]


class _InOrderOfNames(COCOPanoptic):
    """Lists categories in the order in which they are asked for, not in that of the file."""

    def get_cat_ids(
        self, cat_names: Sequence[str] = (), sup_names: Any = (), cat_ids: Any = ()
    ) -> list[Any]:
        if not cat_names:
            return super().get_cat_ids(list(cat_names), list(sup_names), list(cat_ids))
        known = {category["name"]: category["id"] for category in self.dataset["categories"]}
        missing = [name for name in cat_names if name not in known]
        if missing:
            raise DataError(
                f"CityscapesPanopticDataset: the annotation file has no category "
                f"{', '.join(missing)}; it has {', '.join(known)}. Write it with "
                "cityscapesscripts' createPanopticImgs, or set metainfo.classes"
            )
        return [known[name] for name in cat_names]


@DATASETS.register_module()
class CityscapesPanopticDataset(CocoPanopticDataset):
    """Cityscapes with 8 things and 11 stuff classes, things first, as panoptic heads want them.

    Annotations are those of cityscapesscripts' ``createPanopticImgs``, with ids of labels or of
    training. Three things in its ``gtFine/cityscapes_panoptic_SPLIT.json`` are not what mmdet's
    ``CocoPanopticDataset`` takes: categories begin with stuff, ``file_name`` names no image that is
    there (``CITY_SEQUENCE_FRAME_gtFine_leftImg8bit.png``, without the folder of the city), and maps
    have names of their own. So files are found by the id of the image, CITY_SEQUENCE_FRAME:

        leftImg8bit/SPLIT/CITY/CITY_SEQUENCE_FRAME_leftImg8bit.png      below ``data_prefix.img``
        gtFine/cityscapes_panoptic_SPLIT/CITY_SEQUENCE_FRAME_gtFine_panoptic.png           ``.seg``

    Labels are not in the file's order, so metrics take the ground truth from the samples:
    ``dict(type='mmattn.ClasswisePanopticMetric')`` without ``ann_file``, and a test pipeline that
    packs ``segments_info`` and ``seg_map_path``.

    Args:
        kwargs: Arguments of mmdet's ``CocoPanopticDataset``.

    Raises:
        DataError: The file lacks a class, or an image has an id that names no city.
    """

    METAINFO = {
        "classes": _THINGS + _STUFF,
        "thing_classes": _THINGS,
        "stuff_classes": _STUFF,
        "palette": _PALETTE,
    }
    COCOAPI = _InOrderOfNames

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """Return an entry as mmdet's does, with the files that are there.

        Args:
            raw_data_info: Entries of the image and of its segments.

        Raises:
            DataError: The id of the image names no city.
        """
        image = str(raw_data_info["raw_img_info"]["img_id"])
        city = image.partition("_")[0]
        if not city or city == image:
            raise DataError(
                f"{self.ann_file}: the image {image!r} has no id of the form CITY_SEQUENCE_FRAME, "
                "by which Cityscapes' files are found. For other data take mmdet's "
                "CocoPanopticDataset"
            )
        segments = raw_data_info["raw_ann_info"]
        known = [one for one in segments if one["category_id"] in self.cat2label]
        entry = super().parse_data_info({**raw_data_info, "raw_ann_info": known})
        # Of categories that are no class here, where metainfo names fewer.
        entry["void_segments"] = [one["id"] for one in segments if one not in known]
        images, maps = (self.data_prefix.get(key) for key in ("img", "seg"))
        entry["img_path"] = str(PurePosixPath(images or "") / city / f"{image}_leftImg8bit.png")
        if maps:
            entry["seg_map_path"] = str(PurePosixPath(maps) / f"{image}_gtFine_panoptic.png")
        return entry
