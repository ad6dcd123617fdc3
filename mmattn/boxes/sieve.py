"""Which objects of a file can be used: those that cannot are refused, or left out and counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mmattn.errors import DataError

from .coco_rules import is_polygon, overlap, polygon_bounds
from .records import BoxObject, Finding, LeftOutObject, Place, ReadOptions, Tally, listed
from .run_lengths import run_length_problem

#: What is left out, because no network can learn from it -> sentence.
LEFT_OUT = {
    "no-area": "boxes without area are left out",
    "outside": "boxes outside of their image are left out",
    "below-a-pixel": "boxes less than a pixel wide or high are left out",
    "mask-outside": "objects whose polygons lie outside of their image are left out",
}
#: What is used as it is -> sentence.
KEPT = {
    "beyond-image": "boxes that reach beyond their image",
    "mask-beside-box": "objects whose polygons lie beside their box",
    "duplicate-box": "boxes that stand twice in their image",
}
#: What is left out or kept -> what to do about it.
FIXES = {
    "no-area": "Draw them again, or take them out of the file",
    "outside": "Pair the annotations with their own images, or take them out of the file",
    "below-a-pixel": "Draw them again, or take them out of the file",
    "mask-outside": "Pair the annotations with their own images, or take them out of the file",
    "beyond-image": "Cut them at the edge of the image",
    "mask-beside-box": "Compute the boxes from the polygons",
    "duplicate-box": "Take the second ones out of the file",
}
#: What cannot be meant so, and is refused -> what is wrong, and what to do.
REFUSED = {
    "not-numbers": ("boxes are not four numbers", "Mend them"),
    "negative-size": (
        "boxes end before they begin",
        "Mend them (are corners and sizes mixed up?)",
    ),
    "above-one": (
        "lines have values below 0 or above 1",
        "YOLO's boxes are centre and size as shares of the image: divide by its width and height",
    ),
    "below-offset": (
        "boxes begin before 1, where pixels are said to be numbered from 1",
        "Set data.voc_offset=0 if they are numbered from 0",
    ),
    "fields": ("lines are no boxes", "A line is a class number and four shares of the image"),
    "no-name": ("objects have no name", "Name their class"),
    "no-mask": ("objects have no mask", "Draw them, or train a detector of boxes"),
    "bad-mask": (
        "masks are neither polygons nor run lengths of their image's size",
        "Mend them",
    ),
}


class Sieve:
    """Takes the objects of a file one by one and keeps account of those that cannot be used.

    Args:
        options: What is refused and what is left out.
        box_format: How the format writes a box, used in messages.
    """

    def __init__(self, options: ReadOptions, box_format: str) -> None:
        self._options = options
        self._format = box_format
        self.tally = Tally()
        self.left_out: list[LeftOutObject] = []
        self.total = 0

    def takes(self, item: BoxObject, size: tuple[int, int], source: str) -> bool:
        """Return whether an object can be used."""
        self.total += 1
        check = _problem(item, size)
        if check is None and self._options.masks:
            check = _mask_problem(item, size)
        if check is None:
            if _reaches_beyond(item, size):
                self.tally.add("beyond-image", _place(item, source))
            if self._options.masks and _lies_beside(item):
                self.tally.add("mask-beside-box", _place(item, source))
            return True
        self.tally.add(check, _place(item, source))
        if check in LEFT_OUT or check in ("negative-size", "not-numbers"):
            self.left_out.append(LeftOutObject(item, size, source))
        return False

    def refuse(self, check: str, source: str, item: str) -> None:
        """Note an object that could not even be read."""
        self.total += 1
        self.tally.add(check, Place(source, item))

    def finish(self) -> tuple[Finding, ...]:
        """Return what was left out.

        Raises:
            DataError: Objects cannot be meant so, and ``bad_objects`` is not ``skip``; the message
                has every kind of fault.
        """
        findings = list(self.tally.findings({**LEFT_OUT, **KEPT}, FIXES))
        refused = []
        for check, (wrong, fix) in REFUSED.items():
            places = self.tally.places.get(check)
            if not places:
                continue
            if self._options.bad_objects != "skip":
                refused.append(
                    f"{len(places)} of {self.total} {wrong}: {listed(places)}; {self._format} is "
                    f"expected. {fix}, or leave them out with data.bad_objects=skip"
                )
            findings.append(Finding(check, f"left out: {wrong}", (*places,), fix=fix))
        if refused:
            raise DataError("\n  ".join(refused))
        return tuple(findings)


def _place(item: BoxObject, source: str) -> Place:
    return Place(source, item.item, str([round(float(v), 3) for v in item.stored]))


def _problem(item: BoxObject, size: tuple[int, int]) -> str | None:
    if not all(map(math.isfinite, item.box)):
        return "not-numbers"
    x1, y1, x2, y2 = item.box
    if x2 < x1 or y2 < y1:
        return "negative-size"
    if x2 == x1 or y2 == y1:
        return "no-area"
    height, width = size
    if min(x2, width) <= max(x1, 0) or min(y2, height) <= max(y1, 0):
        return "outside"
    # mmdet's readers have the same limit.
    return "below-a-pixel" if x2 - x1 < 1 or y2 - y1 < 1 else None


def _reaches_beyond(item: BoxObject, size: tuple[int, int]) -> bool:
    height, width = size
    x1, y1, x2, y2 = item.box
    # Tools round and count from 0 or from 1.
    slack = max(2.0, 0.01 * max(height, width))
    return x2 > width + slack or y2 > height + slack or x1 < -slack or y1 < -slack


def _mask_problem(item: BoxObject, size: tuple[int, int]) -> str | None:
    if not item.mask:
        return None if item.crowd else "no-mask"
    if not is_mask(item.mask, size):
        return "bad-mask"
    bounds = polygon_bounds(item.mask)
    inside = bounds is None or overlap(bounds, (0, 0, size[1], size[0]))
    return None if inside else "mask-outside"


def _lies_beside(item: BoxObject) -> bool:
    bounds = polygon_bounds(item.mask)
    return bounds is not None and not overlap(bounds, item.box)


def is_mask(mask: Any, size: tuple[int, int]) -> bool:
    """Return whether a value is COCO's mask of an image of this size.

    Args:
        mask: List of polygons, x and y by turns, or run lengths: ``size`` and ``counts``.
        size: Height and width of the image.
    """
    if isinstance(mask, dict):
        return run_length_problem(mask, size) is None
    return isinstance(mask, list) and any(map(is_polygon, mask))


def duplicates(images: Sequence[Any]) -> tuple[Finding, ...]:
    """Return the objects that stand twice in their image, class and box alike; they are kept."""
    tally = Tally()
    for image in images:
        seen: set[tuple] = set()
        for item in image.objects:
            key = (item.name, item.box)
            if key in seen:
                tally.add("duplicate-box", Place(image.source, item.item))
            seen.add(key)
    return tally.findings(KEPT)
