"""Objects as annotation files hold them, before a dataset's reader leaves some of them out.

Every reader drops objects silently: those of other classes, those smaller than a pixel, those
outside of the image. So what the files have is read here a second time, and counted against what
the dataset uses (``boxes.py``), by the same rules for every format.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmattn.boxes import BoxRecords
from mmattn.errors import DataError


class StoredObject(NamedTuple):
    """One annotated object.

    Attributes:
        name: Name of its class; None where the format has labels alone and this one has no name.
        corners: x1, y1, x2, y2 as the dataset's reader takes them; None for objects without a box.
        stored: Numbers of the box as the file has them.
        size: Height and width of its image; None where they are not stated.
        source: Image or file of the object, used in messages.
        usable: False for what the reader drops for another reason than its box.
    """

    name: str | None
    corners: tuple[float, float, float, float] | None
    stored: Sequence[float] | None
    size: tuple[float, float] | None
    source: str
    usable: bool = True


class KeepEntries:
    """Stands for a dataset's ``load_data_list`` and keeps all entries, before any filter."""

    def __init__(self, dataset: Any) -> None:
        self.entries: list[Any] = []
        self.raw: list[Mapping[str, Any]] = []
        self.last_source: str | None = None
        self._load: Callable[[], list] = dataset.load_data_list
        dataset.load_data_list = self
        if hasattr(dataset, "parse_data_info"):
            self._parse: Callable[[Any], Any] = dataset.parse_data_info
            dataset.parse_data_info = self._parse_one

    def __call__(self) -> list:
        loaded = self._load()
        self.entries = list(loaded)
        return loaded

    def _parse_one(self, raw: Any) -> Any:
        """Note which entry is read, for the message if its reader stumbles over it."""
        self.last_source = _source(raw)
        if isinstance(raw, Mapping) and "gtboxes" in raw:  # CrowdHuman keeps no names
            self.raw.append(raw)
        parsed = self._parse(raw)
        self.last_source = None
        return parsed


def _source(raw: Any) -> str | None:
    """Return the file or image that a reader's raw entry is about."""
    if not isinstance(raw, Mapping):
        return None
    inner = raw.get("raw_img_info")
    raw = inner if isinstance(inner, Mapping) else raw
    keys = ("xml_path", "file_name", "img_path", "filename", "ID", "img_id")
    return next((str(raw[key]) for key in keys if raw.get(key) is not None), None)


def stored_objects(
    kept: KeepEntries, classes: Sequence[str], content: Mapping[str, Any] | None
) -> Iterator[StoredObject]:
    """Yield every object of a dataset's annotation files.

    Args:
        kept: All entries of the dataset, which has read its files.
        classes: Class names of the dataset.
        content: Content of its annotation file, if that has COCO's format.

    Raises:
        DataError: A box is not of numbers, or a label is of no class.
    """
    if content is not None:
        yield from _of_coco(content)
        return
    if kept.raw:
        yield from _of_crowdhuman(kept.raw, kept.entries)
        return
    for entry in kept.entries:
        if not isinstance(entry, Mapping):
            continue
        xml = entry.get("xml_path")
        if isinstance(xml, str) and os.path.isfile(xml):
            yield from _of_xml(xml, _size(entry))
        else:
            yield from _of_entry(entry, classes)


def objects_of_records(records: BoxRecords) -> Iterator[StoredObject]:
    """Yield every object that a folder of boxes holds, used or not."""
    for image in records.images:
        for item in image.objects:
            yield StoredObject(item.name, item.box, item.stored, image.size, image.source)
    for item, size, source in records.left_out:
        yield StoredObject(item.name, item.box, item.stored, size, source, usable=False)


def _size(entry: Mapping[str, Any]) -> tuple[float, float] | None:
    height, width = entry.get("height"), entry.get("width")
    return None if not height or not width else (height, width)


def _of_coco(content: Mapping[str, Any]) -> Iterator[StoredObject]:
    names = {category["id"]: category["name"] for category in content.get("categories", ())}
    images = {image["id"]: image for image in content.get("images", ())}
    for annotation in content.get("annotations", ()):
        image = images[annotation["image_id"]]
        source = str(image.get("file_name") or image.get("coco_url") or image["id"])
        for item in annotation.get("segments_info", (annotation,)):
            box = item.get("bbox")
            corners = None
            if box is not None:
                x, y, width, height = box
                corners = (x, y, x + width, y + height)
            area = item.get("area")
            usable = not (isinstance(area, (int, float)) and area <= 0)
            name = names.get(item.get("category_id"))
            yield StoredObject(name, corners, box, _size(image), source, usable)


def _of_crowdhuman(
    raw: Sequence[Mapping[str, Any]], entries: Sequence[Any]
) -> Iterator[StoredObject]:
    for lines, entry in zip(raw, entries, strict=True):
        for item in lines["gtboxes"]:
            if item.get("extra", {}).get("ignore"):
                continue
            x, y, width, height = item["fbox"]
            corners = (x, y, x + width, y + height)
            source = str(entry["img_path"])
            yield StoredObject(item.get("tag"), corners, item["fbox"], _size(entry), source)


def _of_xml(path: str, size: tuple[float, float] | None) -> Iterator[StoredObject]:
    for item in ET.parse(path).getroot().iterfind("object"):
        name = (item.findtext("name") or "").strip() or None
        bounds = item.find("bndbox")
        box = None
        if bounds is not None:
            texts = [bounds.findtext(key) for key in ("xmin", "ymin", "xmax", "ymax")]
            try:
                box = [float(text) for text in texts]  # type: ignore[arg-type]
            except (TypeError, ValueError) as error:
                raise DataError(
                    f"{path}: the box of {name!r} is {texts}, not the four numbers xmin, ymin, "
                    "xmax, ymax"
                ) from error
        corners = None if box is None else (box[0], box[1], box[2], box[3])
        yield StoredObject(name, corners, box, size, path)


def _of_entry(entry: Mapping[str, Any], classes: Sequence[str]) -> Iterator[StoredObject]:
    """Objects of any other reader: what it made of its file."""
    source = str(entry.get("img_path") or entry.get("img_id") or "an entry")
    for instance in entry.get("instances") or ():
        if not isinstance(instance, Mapping):
            continue
        label, box = instance.get("bbox_label"), instance.get("bbox")
        ignored = bool(instance.get("ignore_flag"))
        inside = isinstance(label, int) and 0 <= label < len(classes)
        name = classes[label] if inside else None
        # Datasets of phrases number these anew in each image.
        if isinstance(label, int) and classes and not (inside or ignored or "text" in entry):
            raise DataError(
                f"the label {label} of an object in {source} belongs to none of the "
                f"{len(classes)} classes, which have the labels 0 to {len(classes) - 1}"
            )
        corners = None
        if box is not None and len(box) == 4:
            corners = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
        yield StoredObject(name, corners, corners, _size(entry), source)
