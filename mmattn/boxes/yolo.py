"""YOLO's annotations: one text file for each image, with a line for each object.

A line is ``class x y width height``: the number of a class, and centre and size of the box as
shares of the image's width and height. With more numbers it is a polygon, ``class x1 y1 x2 y2 …``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

from mmattn.errors import DataError

from .image_sizes import size_of
from .records import BoxImage, BoxObject, BoxRecords, Place, ReadOptions, Tally
from .sieve import Sieve, duplicates

BOX_FORMAT = "class, centre and size as shares of the image"
#: Tools round the last digit up.
_ROUNDING = 1e-5
_TEXTS = {
    "sixth": "lines with a sixth number, a confidence perhaps, which is not used",
    "no-label": "images without a label file, or with an empty one, count as background",
}


@dataclass(frozen=True)
class YoloClasses:
    """Names of the classes by their numbers.

    Attributes:
        names: Names; empty where no file has them.
        source: Path of the file that has them.
    """

    names: tuple[str, ...]
    source: str


def read_yolo(
    pairs: Sequence[tuple[str, str | None, str]], classes: YoloClasses, options: ReadOptions
) -> BoxRecords:
    """Read the label files of one split.

    Args:
        pairs: Path of an image, of its label file (None without), and its name without ending.
        classes: Names of the classes.
        options: What is refused and what is left out.

    Raises:
        DataError: A file is wrong; the message has file, line and fix.
    """
    tally, sieve = Tally(), Sieve(options, BOX_FORMAT)
    images = []
    highest = -1
    for path, label, stem in pairs:
        size = size_of(path)
        objects = []
        lines = _lines(label) if label else []
        if not any(map(str.strip, lines)):
            tally.add("no-label", Place(path))
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            item = _object(line.split(), size, str(label), f"line {number}", classes, tally, sieve)
            if item is None:
                continue
            highest = max(highest, item[0])
            if sieve.takes(item[1], size, str(label)):
                objects.append(item[1])
        images.append(BoxImage(path, stem, len(images) + 1, size, label or path, tuple(objects)))
    findings = (*sieve.finish(), *tally.findings(_TEXTS), *duplicates(images))
    names = classes.names or tuple(f"class {index}" for index in range(highest + 1))
    return BoxRecords(
        tuple(images), names, BOX_FORMAT, findings=findings, left_out=tuple(sieve.left_out)
    )


def _object(
    words: Sequence[str],
    size: tuple[int, int],
    file: str,
    line: str,
    classes: YoloClasses,
    tally: Tally,
    sieve: Sieve,
) -> tuple[int, BoxObject] | None:
    """Return class number and object of a line; None where it cannot be read."""
    try:
        number, *shares = map(float, words)
    except ValueError:
        sieve.refuse("fields", file, line)
        return None
    is_polygon = len(shares) >= 6 and len(shares) % 2 == 0
    if number != int(number) if math.isfinite(number) else True:
        sieve.refuse("fields", file, line)
        return None
    if len(shares) not in (4, 5) and not is_polygon:
        sieve.refuse("fields", file, line)
        return None
    if number < 0 or (classes.names and number >= len(classes.names)):
        raise DataError(
            f"{file} ({line}): the class number {int(number)} has no name: {classes.source} names "
            f"{len(classes.names)} classes, 0 to {len(classes.names) - 1}. Mend the line, or name "
            "the class there"
        )
    if len(shares) == 5:
        tally.add("sixth", Place(file, line))
        shares = shares[:4]
    if not all(map(math.isfinite, shares)):
        sieve.refuse("not-numbers", file, line)
        return None
    if min(shares) < -_ROUNDING or max(shares) > 1 + _ROUNDING:
        sieve.refuse("above-one", file, line)
        return None
    height, width = size
    mask = None
    if is_polygon:
        xs, ys = [x * width for x in shares[::2]], [y * height for y in shares[1::2]]
        box = (min(xs), min(ys), max(xs), max(ys))
        mask = [[value for point in zip(xs, ys, strict=True) for value in point]]
    else:
        x, y, w, h = shares[0] * width, shares[1] * height, shares[2] * width, shares[3] * height
        box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    name = classes.names[int(number)] if classes.names else f"class {int(number)}"
    return int(number), BoxObject(name, box, box, line, mask=mask)


def _lines(file: str) -> list[str]:
    try:
        with open(file, encoding="utf-8-sig") as opened:
            return opened.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{file} cannot be read as text ({error}; {os.path.getsize(file)} bytes). Export or "
            "copy it again"
        ) from error
