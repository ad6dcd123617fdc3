"""COCO annotation files: do the labels mean what the config's class names say?

mmdet numbers the labels in the order of the categories in the file, not in the order of
``metainfo.classes``; a misspelt or reordered name silently trains one class under another's name.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmattn.errors import DataError

from .boxes import as_metainfo, nearest_name, none_used


class RecordingCocoReader:
    """Stands for a dataset's COCO reader and keeps what it read, which the dataset drops."""

    def __init__(self, reader: Callable[..., Any], where: str, ann_file: str) -> None:
        self._reader = reader
        self._where = where
        self._ann_file = ann_file
        self.coco: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        coco = self._reader(*args, **kwargs)
        if is_coco(coco.dataset):
            check_content(coco.dataset, self._where, self._ann_file)
        self.coco = coco
        return coco

    @property
    def content(self) -> Mapping[str, Any] | None:
        """Content of the file; None before reading and where it is not in COCO's format."""
        return self.coco.dataset if self.coco is not None and is_coco(self.coco.dataset) else None

    @property
    def names(self) -> dict[int, str]:
        """Category id to name, in the file's order; empty before reading."""
        return {} if self.coco is None else {c["id"]: c["name"] for c in self.coco.cats.values()}

    def objects_by_name(self) -> Counter[str]:
        """Return the number of objects of each category, by its name."""
        names = self.names
        used = (
            item.get("category_id")
            for entry in (self.content or {}).get("annotations", ())
            for item in entry.get("segments_info", (entry,))
        )
        return Counter(names[number] for number in used if number in names)


def check_names(
    names: Mapping[int, str],
    label_of: Mapping[int, int],
    classes: Sequence[str],
    where: str,
    ann_file: str,
    objects: Counter[str],
) -> None:
    """Compare each category's name with that of the label it gets.

    Args:
        names: Category id -> name, in the order of the file.
        label_of: Category id -> label, as the dataset computed it.
        classes: Class names of the config; the position is the label.
        where: Config key of the dataset, used in messages.
        ann_file: Path of the annotation file.
        objects: Name -> number of its objects in the file.

    Raises:
        DataError: They differ; the message names both and the line to write.
    """
    swapped = [
        (names[category], label)
        for category, label in label_of.items()
        if label >= len(classes) or names[category] != classes[label]
    ]
    unknown = [name for name in classes if name not in names.values()]
    if not swapped and (label_of or not classes):
        return
    reasons = []
    if not any(objects[name] for name in classes):
        reasons.append(f"  {none_used(objects)}")
    for name in unknown[:5]:
        reasons.append(
            f"  {name!r} is no category of the file.{nearest_name(name, names.values())}"
        )
    if len(unknown) > 5:
        reasons.append(f"  ... and {len(unknown) - 5} more")
    for name, label in swapped[:3]:
        called = repr(classes[label]) if label < len(classes) else "out of range"
        reasons.append(f"  boxes of {name!r} would get label {label}, which is {called}")
    wanted = [name for name in names.values() if name in classes] if not unknown else names.values()
    raise DataError(
        f"{where}: metainfo.classes does not fit the categories of {ann_file}:\n"
        + "\n".join(reasons)
        + f"\nWrite the names as the file has them, in its order: {as_metainfo(wanted)}"
    )


def read_content(ann_file: Any) -> Mapping[str, Any] | None:
    """Return the content of a file in COCO's format; None for files of another format."""
    if not isinstance(ann_file, str) or not ann_file.endswith(".json"):
        return None
    try:
        with open(ann_file, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return None
    return content if is_coco(content) else None


def is_coco(content: Any) -> bool:
    """Return whether the content of a file has the lists of COCO's format."""
    keys = ("images", "annotations", "categories")
    return isinstance(content, Mapping) and all(isinstance(content.get(k), list) for k in keys)


def check_content(content: Mapping[str, Any], where: str, ann_file: str) -> None:
    """Check that images, categories and annotations of a file are whole and refer to each other.

    pycocotools passes over what does not fit, or stumbles with an error of its own.

    Args:
        content: Content of the file, as ``is_coco`` wants it.
        where: Config key of the dataset, used in messages.
        ann_file: Path of the annotation file.

    Raises:
        DataError: An entry is broken, or refers to nothing; the message has the first one.
    """
    prefix = f"{where}: {ann_file}"
    images, categories = content["images"], content["categories"]
    for key in ("images", "categories", "annotations"):
        _check_entries(content[key], key, prefix)
    image_ids = _check_ids(images, "images", "file_name", prefix)
    category_ids = _check_ids(categories, "categories", "name", prefix)
    for index, category in enumerate(categories):
        if not isinstance(category.get("name"), str):
            raise DataError(
                f"{prefix}: the name of categories[{index}] (id {category['id']!r}) is "
                f"{category.get('name')!r}, not a text: write it in quotes"
            )
    annotations = content["annotations"]
    _check_references(annotations, "image_id", image_ids, "an image", prefix)
    items: list[Any] = annotations
    if annotations and "segments_info" in annotations[0]:
        items = [item for entry in annotations for item in entry.get("segments_info") or ()]
        _check_entries(items, "segments_info", prefix)
    _check_references(items, "category_id", category_ids, "a category", prefix)
    for item in items:
        box = item.get("bbox")
        if box is not None and not _is_box(box):
            raise DataError(
                f"{prefix}: the box of the annotation {item.get('id')!r} is {box!r}, not the four "
                "numbers [x, y, width, height]"
            )


def _check_entries(entries: list, key: str, prefix: str) -> None:
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise DataError(f"{prefix}: {key}[{index}] is {entry!r:.80}, not an object in braces")


def _check_ids(entries: list, key: str, title: str, prefix: str) -> dict[Any, Any]:
    """Return id -> title of images or categories; each id is there once, as number or text."""
    seen: dict[Any, Any] = {}
    for index, entry in enumerate(entries):
        if "id" not in entry:
            raise DataError(
                f"{prefix} has an entry without 'id' ({key}[{index}]): it is not the annotation "
                "format that this dataset reads"
            )
        number, name = entry["id"], entry.get(title)
        if isinstance(number, bool) or not isinstance(number, (int, str, float)):
            raise DataError(f"{prefix}: the id of {key}[{index}] is {number!r}, not a number")
        if number in seen:
            twice = len(entries) - len({entry.get("id") for entry in entries[index:]} | set(seen))
            lost = "one image of each pair would vanish" if key == "images" else "one would vanish"
            raise DataError(
                f"{prefix} gives the id {number!r} to {seen[number]!r} and to {name!r} ({twice} "
                f"ids are used twice): {lost}. Number the {key} anew"
            )
        seen[number] = name
    return seen


def _check_references(
    items: list, key: str, known: Mapping[Any, Any], what: str, prefix: str
) -> None:
    """Refuse annotations of an image or category that the file does not list."""
    unknown = [item for item in items if key in item and not _is_known(item[key], known)]
    if not unknown:
        return
    first = unknown[0][key]
    twin = next((number for number in known if str(number) == str(first)), None)
    if twin is not None:
        reason = (
            f"{first!r} is no id of {what} while {twin!r} is: one is a text, the other a number. "
            "Write both as numbers"
        )
    else:
        reason = (
            f"such as {first!r} in the annotation {unknown[0].get('id')!r}. They would be left out "
            "without a word: mend the ids, or take these annotations out of the file"
        )
    raise DataError(
        f"{prefix}: {len(unknown)} of {len(items)} annotations have a {key} that is the id of "
        f"none of its {len(known)} {'images' if key == 'image_id' else 'categories'}: {reason}"
    )


def _is_known(number: Any, known: Mapping[Any, Any]) -> bool:
    return isinstance(number, (int, str, float)) and number in known


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, (list, tuple))
        and len(box) == 4
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in box)
        and all(map(math.isfinite, box))
    )


def why_empty(coco: Any, label_of: Mapping[int, int], filter_cfg: Mapping | None) -> str:
    """Say how many images an annotation file has and why none is left."""
    used = sum(a["category_id"] in label_of for a in coco.anns.values() if isinstance(a, Mapping))
    filtered = f"; filter_cfg={dict(filter_cfg)} left none" if filter_cfg else ""
    return (
        f"{len(coco.imgs)} images and {len(coco.anns)} annotations, {used} of them of the "
        f"configured classes{filtered}"
    )


def check_instance_masks(entries: Sequence[dict], where: str) -> None:
    """Raise when the pipeline wants instance masks and an annotation has none."""
    for entry in entries:
        for instance in entry.get("instances", ()):
            if "mask" not in instance and not instance.get("ignore_flag"):
                raise DataError(
                    f"{where}: the pipeline loads instance masks (with_mask=True), but the "
                    f"annotation of {entry['img_path']} with box {instance.get('bbox')} has no "
                    "segmentation. Set with_mask=False, or use an annotation file with masks"
                )
