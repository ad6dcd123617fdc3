"""Panoptic maps: they show the segments that their file lists, no others, at the image's size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mmattn.boxes.panoptic_segments import check_map
from mmattn.errors import DataError
from mmattn.images import evenly


def check_panoptic(
    entries: Sequence[dict],
    read: Callable[[str], np.ndarray],
    image_size: Callable[[str], tuple[int, int]],
    where: str,
    limit: int | None,
) -> int:
    """Compare maps with their ``segments_info``.

    Args:
        entries: Entries of the dataset, with ``img_path``, ``seg_map_path`` and ``segments_info``.
        read: Function from the path of a map to its pixels as stored, red first.
        image_size: Function from the path of an image to its height and width as loaded.
        where: Config key of the dataset, used in messages.
        limit: Largest number of files to look at, evenly spread; None looks at all.

    Returns:
        How many were looked at.

    Raises:
        DataError: A map of another size than its image, or one that does not show a segment that is
            listed, or shows one that is not.
    """
    chosen = evenly(len(entries), limit)
    for index in chosen:
        entry = entries[index]
        path = entry["seg_map_path"]
        colours = read(path)
        if colours.ndim != 3 or colours.shape[2] < 3:
            raise DataError(
                f"{where}: the panoptic map {path} has no three colour channels. Segment ids are "
                "stored as R + 256 G + 256^2 B: use the panoptic PNG, not an index mask"
            )
        size = image_size(entry["img_path"])
        if colours.shape[:2] != size:
            raise DataError(
                f"{where}: the panoptic map {path} is {colours.shape[0]} x {colours.shape[1]} "
                f"(height x width), its image {entry['img_path']} is {size[0]} x {size[1]}"
            )
        ids = colours[..., :3].astype(np.int64) @ (1, 256, 65536)
        present, counts = np.unique(ids, return_counts=True)
        try:
            check_map(
                path,
                dict(zip(present.tolist(), counts.tolist(), strict=True)),
                {segment["id"] for segment in entry.get("segments_info", ())},
                "its annotation file",
                void=entry.get("void_segments", ()),
            )
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
    return len(chosen)
