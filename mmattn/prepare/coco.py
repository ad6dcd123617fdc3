"""Annotations in COCO's form: read, cut to a part, checked against the images."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mmattn.errors import DataError, one_line
from mmattn.images import evenly, read_header
from mmattn.io.plain_data import parse_json, read_text

from .card import CocoSplit
from .pixels import image_size, read_pixels

_READ = 64  # images whose header is compared, without --full-check


def read_annotations(path: Path) -> dict[str, Any]:
    """Read a file of annotations.

    Raises:
        DataError: It is missing, cut off, or has other content.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: no such file. The split is missing from the archives, or this is the folder "
            "of another dataset: prepare it again, with all of its archives"
        )
    content = parse_json(read_text(path), path)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(
                f"{path} is no file of annotations in COCO's form: it has no list {key!r}. Get the "
                "archive again"
            )
    try:
        _check_entries(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} has entries that are none of COCO's form ({one_line(error)}): it is damaged. "
            "Get the archive again"
        ) from error
    return content


def _check_entries(content: dict[str, Any]) -> None:
    """Raise what Python raises where an entry lacks what every one has."""
    for image in content["images"]:
        hash(image["id"])
        file = PurePosixPath(file_of(image))
        if file.is_absolute() or ".." in file.parts:
            raise ValueError(f"the image {str(file)!r} lies outside of its folder")
    for item in content["annotations"]:
        hash(item["image_id"])
        for label in item.get("segments_info", (item,)):
            hash(label["category_id"])
    for category in content["categories"]:
        hash(category["id"])


def file_of(image: dict[str, Any]) -> str:
    """Return the path of an image: LVIS has no ``file_name``, but the end of an address."""
    if "file_name" in image:
        return str(image["file_name"])
    return "/".join(PurePosixPath(str(image["coco_url"])).parts[-2:])


def classes_by_image(content: dict[str, Any]) -> dict[str, set[int]]:
    """Return file of an image -> categories in it."""
    found: dict[Any, set[int]] = {image["id"]: set() for image in content["images"]}
    for item in content["annotations"]:
        labels = [item, *item.get("segments_info", ())]
        place = found.setdefault(item["image_id"], set())
        place.update(one["category_id"] for one in labels if "category_id" in one)
    return {file_of(image): found[image["id"]] for image in content["images"]}


def cut(content: dict[str, Any], files: Collection[str]) -> bytes:
    """Return the JSON of those images alone; everything else stays as it is."""
    files = set(files)
    images = [image for image in content["images"] if file_of(image) in files]
    kept = {image["id"] for image in images}
    annotations = [item for item in content["annotations"] if item["image_id"] in kept]
    return json.dumps({**content, "images": images, "annotations": annotations}).encode()


def check_coco(
    split: CocoSplit, root: Path, count: int, *, full: bool
) -> tuple[dict[str, int], int]:
    """Check a file of annotations, and the images and maps that it names.

    Args:
        split: What is expected.
        root: Folder of the dataset.
        count: Number of images that are expected.
        full: Compare the size of every image, and each panoptic map, with what the file says.

    Returns:
        Counts, and the number of images whose header was read.

    Raises:
        DataError: The content differs.
    """
    path = root / split.annotations
    content = read_annotations(path)
    images, items = content["images"], content["annotations"]
    found = {
        "images": (len(images), count),
        "categories": (len(content["categories"]), split.categories),
    }
    for what, (number, expected) in found.items():
        if number != expected:
            raise DataError(
                f"{path} has {number} {what}, and {expected} are expected: it is the file of "
                "another split or edition. Get the archive again"
            )
    known = {image["id"] for image in images}
    categories = {category["id"] for category in content["categories"]}
    for item in items:
        labels = {one["category_id"] for one in item.get("segments_info", (item,))}
        if item["image_id"] not in known or not labels <= categories:
            raise DataError(
                f"{path}: an annotation of image {item['image_id']} has the categories "
                f"{sorted(labels)}, and the image or one of them is not in the file: it is "
                "damaged. Get the archive again"
            )
    # Panoptic files give the image's name with .jpg, and the map's with the annotation.
    folder = root / split.images
    _refuse_missing(split, "images", folder, [file_of(image) for image in images])
    counts = {"images": len(images), "annotations": len(items)}
    maps = [str(item["file_name"]) for item in items] if split.maps else []
    if split.maps:
        _refuse_missing(split, "panoptic maps", root / split.maps, maps)
        counts = {"images": len(images), "panoptic maps": len(maps)}
    chosen = evenly(len(images), None if full else _READ)
    for index in chosen:
        _compare_size(folder / file_of(images[index]), images[index], path)
    by_id = {image["id"]: image for image in images}
    for index in evenly(len(maps), None if full else _READ):
        _check_map(root / split.maps / maps[index], items[index], by_id[items[index]["image_id"]])
    return counts, len(chosen)


def _refuse_missing(split: CocoSplit, what: str, folder: Path, files: list[str]) -> None:
    places: dict[Path, set[str]] = {}
    missing = []
    for file in files:
        place = folder / file
        if place.parent not in places:
            parent = place.parent
            places[parent] = {p.name for p in parent.iterdir()} if parent.is_dir() else set()
        if place.name not in places[place.parent]:
            missing.append(file)
    if missing:
        raise DataError(
            f"split {split.name}: {len(missing)} of {len(files)} {what} that {split.annotations} "
            f"names are not in {folder}, such as {missing[0]}. Prepare the dataset again, with all "
            "of its archives"
        )


def _compare_size(path: Path, image: dict[str, Any], annotations: Path) -> None:
    image_size(path)  # refuses one that cannot be read
    stored = read_header(path).stored_size  # annotations are made without EXIF's turn
    if stored != (image["height"], image["width"]):
        raise DataError(
            f"{path} is {stored[0]} x {stored[1]} (height x width), {annotations} has "
            f"{image['height']} x {image['width']}: images and annotations are of different "
            "editions. Get both again"
        )


def _check_map(path: Path, item: dict[str, Any], image: dict[str, Any]) -> None:
    """Compare the ids of a panoptic map, R + 256 G + 65536 B, with those of its entry."""
    pixels = read_pixels(path)
    if pixels.ndim != 3 or pixels.shape[:2] != (image["height"], image["width"]):
        raise DataError(
            f"{path} has the shape {pixels.shape}; a panoptic map has three channels and the size "
            f"of its image, {image['height']} x {image['width']}. Get the archive again"
        )
    ids = pixels[..., :3].astype(np.int64) @ np.array([1, 256, 65536])
    known = {one["id"] for one in item["segments_info"]} | {0}
    wrong = sorted(set(np.unique(ids).tolist()) - known)
    if wrong:
        raise DataError(
            f"{path} has the segment {wrong[0]}, which its entry in the annotations has not: map "
            "and annotations are of different editions. Get the archive again"
        )
