"""What the entries of a COCO file must say, for a folder's reader and for mmdet's own alike.

``coco_content.py`` sees that entries are whole and refer to each other; here is what their values
mean. All kinds of faults of a file are told at once, each with its number and first example.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmattn.errors import DataError
from mmattn.io.plain_data import is_number, parse_json, read_text

from .coco_content import check_content, is_box, is_coco, refuse_form
from .run_lengths import run_length_problem

#: Files up to this size are parsed twice: to be checked, then by the reader that they are for.
MOST_BYTES = 64 * 2**20
Entry = Mapping[str, Any]


def read_before(path: str, where: str) -> Mapping[str, Any] | None:
    """Return the content of a file that another reader is about to read, if it is not too large.

    Args:
        path: Path of the file.
        where: Config key and colon before the path in messages.

    Returns:
        The content; None for a larger file, or one that does not end in ``.json``.

    Raises:
        DataError: As of ``read_file``.
    """
    if not path.endswith(".json") or not os.path.isfile(path):
        return None
    return read_file(path, where) if os.path.getsize(path) <= MOST_BYTES else None


def read_file(path: str, where: str = "") -> Mapping[str, Any]:
    """Return the content of an annotation file.

    Args:
        path: Path of the file.
        where: Config key and colon before the path in messages; may be empty.

    Raises:
        DataError: It is not JSON, has a key twice, or is not of COCO's format.
    """
    shown = f"{where}{path}"
    try:
        content = parse_json(read_text(path), shown)
    except DataError as error:
        text = str(error) if str(error).startswith(where) else f"{where}{error}"
        raise DataError(text) from error
    if not is_coco(content):
        raise DataError(_not_coco(content, shown))
    return content


def _not_coco(content: Any, shown: str) -> str:
    """Return the message for a file that is not of COCO's format."""
    first = content[0] if isinstance(content, list) and content else None
    if isinstance(first, Mapping) and "score" in first:
        return (
            f"{shown} is a file of results, the predictions of a detector: it has scores, no "
            "images and no categories. Give the file of annotations"
        )
    held = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
    return (
        f"{shown} is not COCO's format, which has the lists images, annotations and "
        f"categories; it holds {held:.200}. Export it as COCO"
    )


def check_values(
    content: Mapping[str, Any], prefix: str, *, plain: bool = False, masks: bool = False
) -> None:
    """Refuse values that cannot be meant.

    Args:
        content: Content of a file that ``check_content`` has passed.
        prefix: Path of the annotation file, with the config key before it where there is one.
        plain: Whether mmdet's own reader reads it, which needs more and passes over more.
        masks: Whether that reader loads instance masks.

    Raises:
        DataError: Values are wrong; the message has each kind with its number, first example and
            fix.
    """
    problems = list(_problems(content, plain, masks))
    if not problems:
        return
    if len(problems) == 1:
        raise DataError(f"{prefix}: {problems[0]}")
    listed = "\n  ".join(problems)
    raise DataError(f"{prefix}: {len(problems)} sorts of values are wrong:\n  {listed}")


def check_all(
    content: Mapping[str, Any], prefix: str, *, plain: bool = False, masks: bool = False
) -> None:
    """Check entries, references and values; see ``check_content`` and ``check_values``."""
    forms = {"segments_info" in e for e in content["annotations"] if isinstance(e, Mapping)}
    if len(forms) == 2:  # some have segments, some have not
        refuse_form(content["annotations"], "panoptic", prefix)
    check_content(content, prefix, boxes=plain)
    check_values(content, prefix, plain=plain, masks=masks)


def doubts(content: Mapping[str, Any], *, masks: bool = False) -> list[str]:
    """Return what mmdet's own reader passes over or reads otherwise than it is meant, in words.

    Args:
        content: Content of a file that ``check_values`` has passed.
        masks: Whether instance masks are loaded.
    """
    annotations = content["annotations"]
    found: list[str] = []
    if any(entry.get("id") == 0 and "segments_info" not in entry for entry in annotations):
        found.append(
            "an annotation has the id 0, whose object COCO's evaluation always counts as missed: "
            "number the annotations from 1"
        )
    names = [image.get("file_name") for image in content["images"]]
    twice = sorted({n for n in _repeated(names) if isinstance(n, str)})
    if twice:
        found.append(
            f"{len(twice)} images are listed twice under other ids, such as {twice[0]}: each time "
            "with its own annotations alone"
        )
    keys = (
        (entry.get("image_id"), entry.get("category_id"), *entry["bbox"])
        for entry in annotations
        if is_box(entry.get("bbox"))
    )
    boxes = sum(1 for _ in _repeated(keys))
    if boxes:
        found.append(f"{boxes} boxes stand twice in their image")
    large = [
        entry.get("id")
        for entry in annotations
        if is_box(entry.get("bbox"))
        and is_number(entry.get("area"))
        and entry["area"] > 1.01 * abs(entry["bbox"][2] * entry["bbox"][3]) + 1
    ]
    if large:
        found.append(
            f"{len(large)} objects have an area that is larger than their box, such as the "
            f"annotation {large[0]!r}: sizes in metrics go by it"
        )
    if masks:
        found += _mask_doubts(content)
    return found


def _problems(content: Mapping[str, Any], plain: bool, masks: bool) -> Iterator[str]:
    annotations = content["annotations"]
    panoptic = bool(annotations) and "segments_info" in annotations[0]
    items: list[Entry] = annotations
    if panoptic:
        items = [item for entry in annotations for item in entry.get("segments_info") or ()]
    for index, category in enumerate(content["categories"]):
        if isinstance(category.get("name"), str) and not category["name"].strip():
            yield (f"the name of categories[{index}] (id {category['id']!r}) is empty: name it")
    whole = [image for image in content["images"] if not _is_whole(image["id"])]
    yield from _count(
        whole, len(content["images"]), "images", "have an id that is not whole", "id", "Number them"
    )
    crowds = [item for item in items if not _is_flag(item.get("iscrowd", 0))]
    yield from _count(
        crowds, len(items), "annotations", "have an iscrowd that is neither 0 nor 1", "iscrowd",
        "Write 0 for single objects, 1 for groups",
    )  # fmt: skip
    if items and not crowds and all(item.get("iscrowd") for item in items):
        yield (
            f"all {len(items)} annotations are crowds (iscrowd 1), which neither losses nor "
            "metrics count: write 0 for single objects"
        )
    if plain and not panoptic:
        yield from _plain_problems(content, masks)


def _plain_problems(content: Mapping[str, Any], masks: bool) -> Iterator[str]:
    """Yield what mmdet's CocoDataset stumbles over, or passes over without a word."""
    images, annotations = content["images"], content["annotations"]
    unsized = [i for i in images if not all(_is_side(i.get(k)) for k in ("height", "width"))]
    if unsized:
        first = unsized[0]
        yield (
            f"{len(unsized)} of {len(images)} images state no size that can be used, such as "
            f"height {first.get('height')!r}, width {first.get('width')!r} of the image "
            f"{first['id']!r}: write both in pixels (data=DIR reads them from the images)"
        )
    unnamed = [
        image
        for image in images
        if "coco_url" not in image
        and not (isinstance(image.get("file_name"), str) and image["file_name"].strip())
    ]
    yield from _count(
        unnamed, len(images), "images", "have no name of a file", "file_name", "Write it"
    )
    for key, why in (("id", "number"), ("image_id", "image"), ("category_id", "class")):
        lost = [entry for entry in annotations if key not in entry]
        if lost:
            index = next(i for i, entry in enumerate(annotations) if key not in entry)
            yield (
                f"{len(lost)} of {len(annotations)} annotations have no {key}, such as "
                f"annotations[{index}]: write their {why}"
            )
    ids = [entry["id"] for entry in annotations if isinstance(entry.get("id"), (int, str))]
    twice = list(dict.fromkeys(_repeated(ids)))
    if twice:
        yield (
            f"{len(twice)} annotation ids are used twice, such as {twice[0]!r}: number the "
            "annotations anew"
        )
    boxless = [entry for entry in annotations if entry.get("bbox") is None]
    yield from _count(
        boxless, len(annotations), "annotations", "have no box", "bbox",
        "Write [x, y, width, height] (data=DIR takes it from polygons)",
    )  # fmt: skip
    areas = [entry for entry in annotations if not is_number(entry.get("area"))]
    yield from _count(
        areas, len(annotations), "annotations", "have no area that is a number", "area",
        "Write the pixels of each object, width times height without a mask (data=DIR computes "
        "them)",
    )  # fmt: skip
    if masks:
        sizes = {image["id"]: image for image in images}
        faults = []
        for entry in annotations:
            mask, image = entry.get("segmentation"), sizes.get(entry.get("image_id"))
            if isinstance(mask, Mapping) and image is not None and not unsized:
                problem = run_length_problem(mask, (int(image["height"]), int(image["width"])))
                if problem:
                    where = f"annotation {entry.get('id')!r} of {image.get('file_name')}"
                    faults.append(f"{problem} ({where})")
            elif mask is not None and not isinstance(mask, (list, Mapping)):
                faults.append(f"{mask!r:.40} is no mask (annotation {entry.get('id')!r})")
        if faults:
            yield (
                f"{len(faults)} of {len(annotations)} masks are not polygons or run lengths of "
                f"their image, such as: {faults[0]}. Export them again"
            )


def _mask_doubts(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is doubtful about polygons."""
    sizes = {image["id"]: image for image in content["images"]}
    without, outside, beside = [], [], []
    for entry in content["annotations"]:
        mask, box = entry.get("segmentation"), entry.get("bbox")
        if not isinstance(mask, list) or entry.get("iscrowd"):
            continue
        bounds = polygon_bounds(mask)
        if bounds is None:
            without.append(entry.get("id"))
            continue
        image = sizes.get(entry.get("image_id"), {})
        height, width = image.get("height", math.inf), image.get("width", math.inf)
        if not overlap(bounds, (0, 0, width, height)):
            outside.append(entry.get("id"))
        elif is_box(box) and not overlap(
            bounds, (box[0], box[1], box[0] + box[2], box[1] + box[3])
        ):
            beside.append(entry.get("id"))
    for found, words in (
        (without, "objects have no polygon of three points or more and are left out"),
        (outside, "objects have polygons outside of their image"),
        (beside, "objects have polygons beside their box"),
    ):
        if found:
            yield f"{len(found)} {words}, such as the annotation {found[0]!r}"


def polygon_bounds(mask: Any) -> tuple[float, float, float, float] | None:
    """Return x1, y1, x2, y2 of COCO's polygons; None where none has three points."""
    polygons = [points for points in mask if is_polygon(points)] if isinstance(mask, list) else []
    if not polygons:
        return None
    xs = [x for points in polygons for x in points[::2]]
    ys = [y for points in polygons for y in points[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


def is_polygon(points: Any) -> bool:
    """Return whether a value is x and y by turns of three points or more."""
    return (
        isinstance(points, list)
        and len(points) >= 6
        and len(points) % 2 == 0
        and all(map(is_number, points))
    )


def overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether two boxes of corners share more than an edge, or hold each other's line."""
    return not (one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1])


def _count(
    wrong: Sequence[Entry], total: int, what: str, words: str, key: str, fix: str
) -> Iterator[str]:
    if wrong:
        first = wrong[0]
        yield (
            f"{len(wrong)} of {total} {what} {words}, such as {first.get(key)!r:.60} of the "
            f"{what[:-1]} {first.get('id')!r}: {fix[0].lower()}{fix[1:]}"
        )


def _repeated(values: Any) -> Iterator[Any]:
    seen: set[Any] = set()
    for value in values:
        try:
            if value in seen:
                yield value
            seen.add(value)
        except TypeError:  # of a list, which has a message of its own
            continue


def _is_whole(number: Any) -> bool:
    return not isinstance(number, float) or number.is_integer()


def _is_flag(value: Any) -> bool:
    return value is None or (isinstance(value, (bool, int)) and value in (0, 1))


def _is_side(value: Any) -> bool:
    return is_number(value) and value >= 1
