"""COCO annotation files: whole entries that refer to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmattn.errors import DataError
from mmattn.io.plain_data import is_number, parse_json, read_text

#: No image has as many pixels on a side: what is larger is no place in one.
_MOST_PIXELS = 1e8


def read_content(ann_file: Any) -> Mapping[str, Any] | None:
    """Return the content of a file in COCO's format; None for files of another format."""
    if not isinstance(ann_file, str) or not ann_file.endswith(".json"):
        return None
    try:
        content = parse_json(read_text(ann_file), ann_file, unique_keys=False)
    except DataError:
        return None
    return content if is_coco(content) else None


def is_coco(content: Any) -> bool:
    """Return whether the content of a file has the lists of COCO's format."""
    keys = ("images", "annotations", "categories")
    return isinstance(content, Mapping) and all(isinstance(content.get(k), list) for k in keys)


def refuse_form(annotations: Sequence[Any], wanted: str, where: str) -> None:
    """Refuse boxes or instance masks where panoptic segments are meant, and the reverse.

    Args:
        annotations: Annotations of a COCO file.
        wanted: ``panoptic`` or ``instances``.
        where: Path of the file, with the config key before it where there is one.

    Raises:
        DataError: The annotations are in the other form; the message has the first one.
    """
    for index, entry in enumerate(annotations):
        if not isinstance(entry, Mapping):
            continue  # ``check_content`` refuses it
        panoptic = "segments_info" in entry
        if panoptic == (wanted == "panoptic"):
            continue
        if wanted == "panoptic":
            item = f": annotations[{index}] (id {entry.get('id')!r}) has no segments_info"
        else:
            item = (
                f": annotations[{index}] (image {entry.get('image_id')!r}) has segments_info, no "
                "box or mask of its own"
            )
        raise other_form(where, wanted, item)


def other_form(where: str, wanted: str, item: str = "") -> DataError:
    """Return the error for a file of boxes or masks in place of a panoptic one, and the reverse.

    Args:
        where: Path of the file, with the config key before it where there is one.
        wanted: ``panoptic`` or ``instances``.
        item: What shows it, behind a colon.
    """
    if wanted == "panoptic":
        return DataError(
            f"{where} is a file of boxes or instance masks{item or ' without segments_info'}. A "
            "panoptic config needs a panoptic file, such as panoptic_val2017.json, with the folder "
            "of its PNGs: give it with data.ann_file; for this file take a config of detection or "
            "instance segmentation"
        )
    return DataError(
        f"{where} is a panoptic file{item or ', whose segments_info have no masks of their own'}. "
        "Detection and instance segmentation need a file of instances, such as "
        "instances_val2017.json: give it with data.ann_file; for this file take a panoptic config"
    )


def check_content(content: Mapping[str, Any], prefix: str, *, boxes: bool = True) -> None:
    """Check that images, categories and annotations of a file are whole and refer to each other.

    pycocotools passes over what does not fit, or stumbles with an error of its own.

    Args:
        content: Content of the file, as ``is_coco`` wants it.
        prefix: Path of the annotation file, with the config key before it where there is one.
        boxes: Whether every box must be of four numbers.

    Raises:
        DataError: An entry is broken, or refers to nothing; the message has the first one.
    """
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
        for index, entry in enumerate(annotations):
            if not isinstance(entry.get("segments_info"), list):
                raise DataError(
                    f"{prefix}: the segments_info of annotations[{index}] (image "
                    f"{entry.get('image_id')!r}) are {entry.get('segments_info')!r:.80}, not a "
                    "list: write [] for an image without segments"
                )
        items = [item for entry in annotations for item in entry["segments_info"]]
        _check_entries(items, "segments_info", prefix)
    for item in items:
        if items is not annotations and "category_id" not in item:
            raise DataError(
                f"{prefix}: the segment {item.get('id')!r} has no category_id: say which class it "
                "is of"
            )
    _check_references(items, "category_id", category_ids, "a category", prefix)
    for item in items:
        if isinstance(item.get("id"), (list, dict)):
            raise DataError(f"{prefix}: an annotation has the id {item['id']!r:.80}, not a number")
        box = item.get("bbox")
        if boxes and box is not None and not is_box(box):
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


def is_box(box: Any) -> bool:
    """Return whether a value is a list of four finite numbers, places in an image."""
    return (
        isinstance(box, (list, tuple))
        and len(box) == 4
        and all(is_number(v) and abs(v) < _MOST_PIXELS for v in box)
    )
