"""Find the panoptic maps that an annotation file in COCO's panoptic form names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from mmattn.data.confine import refuse_outside
from mmattn.data.files import missing_files
from mmattn.errors import DataError

from .records import listed


def find_maps(
    path: str,
    root: str,
    annotations: Sequence[Mapping[str, Any]],
    map_dir: str | None,
    *,
    allow_outside: bool = False,
) -> dict[Any, str]:
    """Return image id -> path of the map.

    A folder of the file's own name is looked at first, as COCO has it, then every folder below the
    dataset that holds the first map.

    Args:
        path: Path of the annotation file.
        root: Folder of the dataset.
        annotations: Its annotations, one for each image.
        map_dir: Folder of the maps, relative to ``root``, if it is given.
        allow_outside: Whether a name may lead out of the folder.

    Raises:
        DataError: An annotation names no map, no folder holds the maps, or some are missing.
    """
    names = {}
    for entry in annotations:
        name = entry.get("file_name")
        if not isinstance(name, str):
            raise DataError(
                f"{path}: the annotation of the image {entry.get('image_id')!r} has no file_name, "
                "the name of its panoptic map"
            )
        names[entry["image_id"]] = name
    if not names:
        return {}
    first = next(iter(names.values()))
    if map_dir is not None:
        folder = os.path.join(root, map_dir)
    else:
        own = os.path.splitext(path)[0]
        below = [own, *(place for place, _, _ in os.walk(root, followlinks=True))]
        holding = [place for place in below if os.path.isfile(os.path.join(place, first))]
        # An image may have the map's name; maps lie beside or below their file, or say so.
        holding.sort(key=lambda place: (place != own, "panoptic" not in place.lower()))
        if not holding:
            raise DataError(
                f"{path} names the panoptic map {first}, which is in no folder below {root}. Put "
                f"the maps into {own}, or set data.map_dir to their folder"
            )
        folder = holding[0]
    maps = {number: os.path.join(folder, name) for number, name in names.items()}
    if not allow_outside:
        refuse_outside(maps.values(), [folder], path, "panoptic maps")
    lost = missing_files(maps.values())
    if lost:
        raise DataError(
            f"{path}: {len(lost)} of {len(maps)} panoptic maps do not exist: {listed(lost)}. Put "
            "them there, or set data.map_dir to their folder"
        )
    return maps
