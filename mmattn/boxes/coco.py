"""COCO's annotation files: boxes, instance masks and panoptic segments."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mmattn.errors import DataError
from mmattn.io.plain_data import is_number

from .coco_content import is_box, refuse_form
from .coco_rules import check_all, read_file
from .image_places import ImagePlaces, missing_images
from .image_sizes import size_of
from .panoptic_maps import find_maps
from .records import BoxImage, BoxObject, BoxRecords, Place, ReadOptions, Tally
from .sieve import Sieve, duplicates

BOX_FORMAT = "[x, y, width, height]"
_TEXTS = {
    "no-size": "images without width and height in the file: read from the images",
    "box-of-mask": "objects without a box: it is taken from their polygons",
    "missing-image": "images that are not there are left out with their objects",
    "area-computed": "objects without a positive area in the file: that of box or mask counts",
    "area-above-box": "objects whose area in the file is larger than their box",
    "annotation-id": "annotations with the id of another one, which changes nothing here",
}


def load_coco(path: str, form: str | None = None) -> Mapping[str, Any]:
    """Return the content of an annotation file whose entries are whole.

    Args:
        path: Path of the file.
        form: ``panoptic`` or ``instances`` where the annotations have to be so.

    Raises:
        DataError: The file is not JSON, is not COCO's format, is of the other form, or refers to
            what it does not have.
    """
    content = read_file(path)
    if form is not None:
        refuse_form(content["annotations"], form, path)
    check_all(content, path)
    _check_names_once(content["categories"], path)
    return content


def read_coco(
    path: str, places: ImagePlaces, split: str, options: ReadOptions, map_dir: str | None = None
) -> BoxRecords:
    """Read one annotation file.

    Args:
        path: Path of the file.
        places: Where the images may lie.
        split: The split that the file is for.
        options: What is refused and what is left out.
        map_dir: Folder of the panoptic maps, if it is not found by its name.

    Raises:
        DataError: The file or what it refers to is wrong; the message has file, item and fix.
    """
    content = load_coco(path)
    names = {category["id"]: category["name"].strip() for category in content["categories"]}
    tally, sieve = Tally(), Sieve(options, BOX_FORMAT)
    images = sorted(content["images"], key=lambda image: _order(image["id"]))
    files = _file_names(images, path)
    found = places.find(files, split)
    lost = [name for name, place in zip(files, found, strict=True) if place is None]
    if lost and options.missing_images != "skip":
        raise missing_images(lost, path, places.top, len(files))
    panoptic = _is_panoptic(content)
    maps: dict[Any, str] = {}
    if panoptic:
        allowed = options.allow_outside
        maps = find_maps(path, places.root, content["annotations"], map_dir, allow_outside=allowed)
    things = _things(content["categories"], path) if panoptic else None
    of_image = _by_image(content["annotations"], panoptic, tally, path)
    records = []
    for image, name, place in zip(images, files, found, strict=True):
        if place is None:
            tally.add("missing-image", Place(path, name))
            continue
        size = _stated(image)
        if size is None:
            size = size_of(place)
            tally.add("no-size", Place(path, f"image {image['id']}"))
        objects, left = [], []
        for entry in of_image.get(image["id"], ()):
            is_thing = things is None or names[entry["category_id"]] in things
            item = _object(entry, names, size, tally, sieve, path, is_thing=is_thing)
            if item is not None and sieve.takes(item, size, path):
                objects.append(item)
            elif panoptic:
                left.append(entry["id"])
        number = image["id"] if isinstance(image["id"], int) else len(records) + 1
        stem = os.path.splitext(name)[0]
        records.append(
            BoxImage(
                place,
                stem,
                number,
                size,
                path,
                tuple(objects),
                maps.get(image["id"]),
                tuple(left),
            )
        )
    found_odd = (*sieve.finish(), *tally.findings(_TEXTS), *duplicates(records))
    return BoxRecords(
        tuple(records),
        tuple(names.values()),
        BOX_FORMAT,
        things=things,
        findings=found_odd,
        left_out=tuple(sieve.left_out),
    )


def _object(
    entry: Mapping[str, Any],
    names: Mapping[Any, str],
    size: tuple[int, int],
    tally: Tally,
    sieve: Sieve,
    path: str,
    *,
    is_thing: bool,
) -> BoxObject | None:
    """Return the object of an entry; None where it cannot even be read."""
    panoptic = "segmentation" not in entry and "image_id" not in entry
    if panoptic and not isinstance(entry.get("id"), int):
        raise DataError(f"{path}: a segment has the id {entry.get('id')!r}, not a whole number")
    item = f"{'segment' if panoptic else 'annotation'} {entry.get('id')}"
    box, mask = entry.get("bbox"), entry.get("segmentation") or None
    if box is None and not is_thing:
        box = [0, 0, size[1], size[0]]  # stuff has no box, and none is asked of it
    if box is None and isinstance(mask, list):
        box = _box_of(mask)
        if box is not None:
            tally.add("box-of-mask", Place(path, item))
    if not is_box(box):
        sieve.refuse("not-numbers", path, item)
        return None
    x, y, width, height = map(float, box)  # type: ignore[arg-type]
    area = entry.get("area")
    known = is_number(area) and area > 0
    if known and area > 1.01 * width * height + 1 and not panoptic:  # type: ignore[operator]
        tally.add("area-above-box", Place(path, item, str(area)))
    if not known and not panoptic:
        tally.add("area-computed", Place(path, item))
    return BoxObject(
        names[entry["category_id"]],
        (x, y, x + width, y + height),
        tuple(box),  # type: ignore[arg-type]
        item,
        crowd=bool(entry.get("iscrowd") or entry.get("ignore")),
        mask=mask,
        area=float(area) if known else None,  # type: ignore[arg-type]
        segment=entry["id"] if panoptic else None,
    )


def _box_of(polygons: Sequence[Any]) -> list[float] | None:
    points = [value for polygon in polygons if isinstance(polygon, list) for value in polygon]
    if len(points) < 6 or len(points) % 2 or not all(isinstance(v, (int, float)) for v in points):
        return None
    xs, ys = points[::2], points[1::2]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _by_image(
    annotations: Sequence[Mapping[str, Any]], panoptic: bool, tally: Tally, path: str
) -> dict[Any, list[Mapping[str, Any]]]:
    found: dict[Any, list[Mapping[str, Any]]] = {}
    seen: set[Any] = set()
    for index, entry in enumerate(annotations):
        if "image_id" not in entry:
            raise DataError(
                f"{path}: annotations[{index}] (id {entry.get('id')!r}) has no image_id: say "
                "which image it is of"
            )
        objects = entry["segments_info"] if panoptic else [entry]
        for item in objects:
            if "category_id" not in item:
                raise DataError(
                    f"{path}: the annotation {item.get('id')!r} has no category_id: say which "
                    "class it is of"
                )
        if not panoptic and entry.get("id") is not None:
            if entry["id"] in seen:
                tally.add("annotation-id", Place(path, f"annotation {entry['id']}"))
            seen.add(entry["id"])
        found.setdefault(entry["image_id"], []).extend(objects)
    return found


def _is_panoptic(content: Mapping[str, Any]) -> bool:
    return any("segments_info" in entry for entry in content["annotations"][:1])


def _things(categories: Sequence[Mapping[str, Any]], path: str) -> frozenset[str]:
    for category in categories:
        if category.get("isthing") not in (0, 1):
            raise DataError(
                f"{path}: the category {category['name']!r} does not say whether it is a thing: "
                'write "isthing": 1 for what is counted, 0 for stuff such as sky'
            )
    return frozenset(c["name"].strip() for c in categories if c["isthing"])


def _file_names(images: Sequence[Mapping[str, Any]], path: str) -> list[str]:
    seen: dict[str, Any] = {}
    for image in images:
        name = image.get("file_name")
        if not isinstance(name, str) or not name.strip():
            raise DataError(
                f"{path}: the image {image['id']!r} has the file_name {name!r}: write the name of "
                "its file"
            )
        if name in seen:
            raise DataError(
                f"{path} lists the image {name} twice, with the ids {seen[name]!r} and "
                f"{image['id']!r}: give all its annotations one image_id and remove the other entry"
            )
        seen[name] = image["id"]
    return list(seen)


def _stated(image: Mapping[str, Any]) -> tuple[int, int] | None:
    sides = image.get("height"), image.get("width")
    if all(is_number(side) and side > 0 for side in sides):
        return int(sides[0]), int(sides[1])  # type: ignore[arg-type]
    return None


def _check_names_once(categories: Sequence[Mapping[str, Any]], path: str) -> None:
    counts = Counter(category["name"].strip() for category in categories)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        ids = [c["id"] for c in categories if c["name"].strip() == twice[0]]
        raise DataError(
            f"{path}: the categories {', '.join(map(repr, ids))} have the one name {twice[0]!r}: "
            "give each a name of its own, or make them one category"
        )


def _order(number: Any) -> tuple[bool, Any]:
    return isinstance(number, str), number
