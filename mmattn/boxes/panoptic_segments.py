"""Panoptic annotations as a metric reads them: which segments an image has, and whether a map fits.

COCO's panoptic form is a JSON file whose annotations list the segments of each image, and a PNG for
each image whose colours are the ids of the segments: R + 256 G + 256^2 B; 0 is void, not labelled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmattn.errors import DataError

from .coco import load_coco

#: Id of the pixels that are not labelled.
VOID = 0
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class ImageSegments:
    """The segments that a file lists for one image.

    Attributes:
        file_name: Name of the map.
        ids: int64 (n,)
        categories: (n,), ids of the categories, as positions in ``PanopticFile.categories``.
        crowd: bool (n,)
    """

    file_name: str
    ids: np.ndarray
    categories: np.ndarray
    crowd: np.ndarray


@dataclass(frozen=True, eq=False)
class PanopticFile:
    """The content of an annotation file in COCO's panoptic form.

    Attributes:
        path: Path of the file.
        categories: Categories as the file has them: ``id``, ``name``, ``isthing``.
        images: Id of an image -> its segments.
    """

    path: str
    categories: tuple[Mapping[str, Any], ...]
    images: Mapping[Any, ImageSegments]

    def of_image(self, image_id: Any) -> ImageSegments:
        """Return the segments of an image.

        Raises:
            DataError: The file has no annotation of it.
        """
        found = self.images.get(image_id)
        if found is None:
            raise DataError(
                f"{self.path} has no annotation of the image {image_id!r}, which was predicted "
                f"({len(self.images)} images have one). Give the metric the annotation file of the "
                "dataset that is tested"
            )
        return found


def read_panoptic_file(path: str) -> PanopticFile:
    """Read an annotation file in COCO's panoptic form.

    Raises:
        DataError: It is not in that form, or an entry is broken; the message has the entry and what
            to do.
    """
    content = load_coco(path, form="panoptic")
    for category in content["categories"]:
        if category.get("isthing") not in (0, 1):
            raise DataError(
                f"{path}: the category {category['name']!r} does not say whether it is a thing: "
                'write "isthing": 1 for what is counted, 0 for stuff such as sky'
            )
    position = {category["id"]: place for place, category in enumerate(content["categories"])}
    images: dict[Any, ImageSegments] = {}
    for index, entry in enumerate(content["annotations"]):
        where = f"{path}: annotations[{index}]"
        for key in ("image_id", "file_name"):
            if key not in entry:
                raise DataError(
                    f"{where} has no {key}: each image has one entry with image_id, file_name "
                    "(its map) and segments_info"
                )
        if entry["image_id"] in images:
            raise DataError(
                f"{where} is a second one of the image {entry['image_id']!r}: put all segments of "
                "an image into one entry"
            )
        segments = list(_segments(entry["segments_info"], where))
        images[entry["image_id"]] = ImageSegments(
            str(entry["file_name"]),
            np.array([segment["id"] for segment in segments], np.int64),
            np.array([position[segment["category_id"]] for segment in segments], np.int64),
            np.array([bool(segment.get("iscrowd", 0)) for segment in segments], bool),
        )
    return PanopticFile(path, tuple(content["categories"]), images)


def _segments(segments: Sequence[Mapping[str, Any]], where: str) -> Iterator[Mapping[str, Any]]:
    seen: set[int] = set()
    for segment in segments:
        number = segment.get("id")
        if isinstance(number, bool) or not isinstance(number, int) or not VOID < number < 256**3:
            raise DataError(
                f"{where}: a segment has the id {number!r}. An id is a whole number from 1 to "
                "16777215, that of a colour: R + 256 G + 256^2 B; 0 stands for void"
            )
        if "category_id" not in segment:
            raise DataError(
                f"{where}: the segment {number} has no category_id: say which class it is of"
            )
        if number in seen:
            raise DataError(
                f"{where}: the id {number} stands for two segments: give each a colour of its own"
            )
        seen.add(number)
        yield segment


def check_map(
    path: str,
    present: Mapping[int, int],
    listed: Collection[int],
    source: str,
    *,
    void: Collection[int] = (),
) -> None:
    """Compare the ids of a map with the segments that are listed for its image.

    Args:
        path: Path of the map, with the config key before it where there is one.
        present: Id -> number of pixels in the map.
        listed: Ids of the segments.
        source: What lists them, used in messages.
        void: Ids of segments that are known and left out.

    Raises:
        DataError: They differ; the message has the ids and what to do.
    """
    lost = sorted(set(listed) - set(present))
    if lost and set(listed) <= set(map(_red_and_blue_swapped, present)):
        raise DataError(
            f"the panoptic map {path} has the ids of {source} with red and blue swapped: an id is "
            "R + 256 G + 65536 B. OpenCV writes blue first: save image[..., ::-1] there"
        )
    if lost:
        raise DataError(
            f"the panoptic map {path} does not show {len(lost)} of its {len(listed)} segments (id "
            f"{_first(lost)}), which {source} lists. Pair the map with its own annotation file, or "
            "take segments without pixels out of it"
        )
    unknown = sorted(set(present) - set(listed) - set(void) - {VOID})
    if unknown:
        pixels = sum(present[number] for number in unknown)
        red, green, blue = (unknown[0] // 256**power % 256 for power in range(3))
        raise DataError(
            f"the panoptic map {path} has {pixels} pixels of {len(unknown)} segments that {source} "
            f"does not list (id {_first(unknown)}; the first is the colour R {red}, G {green}, "
            f"B {blue}). Pair the map with its own annotation file, or paint what is not labelled "
            "black (id 0)"
        )


def _red_and_blue_swapped(number: int) -> int:
    return number % 256 * 65536 + number // 256 % 256 * 256 + number // 65536


def _first(ids: Sequence[int]) -> str:
    more = ", ..." if len(ids) > _SHOWN else ""
    return ", ".join(map(str, ids[:_SHOWN])) + more
