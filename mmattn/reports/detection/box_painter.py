"""Boxes and masks drawn over their images, coloured by what became of them.

Right, missed and false have the colours of ``painter.OUTCOMES``, and lines of their own: what is
missed is dashed, what is false is doubled. Names stand where they cover no other name.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mmattn.fonts import fitted, text_font
from mmattn.reports.painter import OUTCOMES
from mmattn.reports.sheets import FONT, INK, LINE, photograph_or_paper, text_row

from .numbers import DetectionNumbers, DrawnObject, WorstImage

_RIGHT, _MISSED, _FALSE = (colour for _, colour in OUTCOMES)
_TILE, _GAP, _NAME_FONT = 480, 8, 11
_OPACITY = 0.45
# Farther out than any image is large, in pixels, and still a coordinate that can be drawn to.
_FAR = 1 << 14
# Names of more objects than these hide the image.
_MAX_NAMES = 30
#: Detections of an image that are drawn, the best; an untrained network has many more.
MAX_DRAWN = 100
Rectangle = tuple[int, int, int, int]


def draw_sheet(
    numbers: DetectionNumbers, *, with_images: bool = True, best: bool = False
) -> np.ndarray:
    """Draw the worst images below each other: ground truth left, detections right.

    Args:
        numbers: Numbers with at least one worst image.
        with_images: Whether to draw over the images, or over plain grey.
        best: Whether to draw the best images instead, of which there is at least one.

    Returns:
        (H, W, 3) uint8 RGB
    """
    width = 2 * _TILE + _GAP
    title = (
        f"{'Highest' if best else 'Lowest'} F1 at IoU 0.5 and confidence {numbers.confidence:.3f}; "
        "ground truth left, detections right"
    )
    rows = [text_row(width, title), _legend(width)]
    for image in numbers.best if best else numbers.worst:
        rows.append(text_row(width, describe(image)))
        left, right = draw_tiles(image, numbers.classes, with_image=with_images)
        gap = np.full((left.shape[0], _GAP, 3), 255, np.uint8)
        rows += [np.hstack([left, gap, right]), np.full((_GAP, width, 3), 255, np.uint8)]
    return np.vstack(rows)


def describe(image: WorstImage) -> str:
    """Return the name of an image and what is right and wrong in it, in one line."""
    name = _shortened(image.title or image.name.replace("\\", "/").rpartition("/")[2], 60)
    text = f"{image.hits} right, {image.false} false, {image.missed} missed"
    if len(image.detections) > MAX_DRAWN:
        text += f" (drawn: the {MAX_DRAWN} detections of the highest scores)"
    return f"{name}: F1 {image.f1:.2f}, {text}"


def draw_tiles(
    image: WorstImage, classes: Sequence[str], *, with_image: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image twice: with its ground truth, and with the detections.

    Args:
        image: Image and what is drawn.
        classes: Names of the classes.
        with_image: Whether to draw over the image, or over plain grey, as where its file is gone.

    Returns:
        Two images, (H, 480, 3) uint8 RGB.
    """
    height, width = image.size
    scale = _TILE / width
    size = (_TILE, max(1, round(height * scale)))
    photograph = photograph_or_paper(image.name, image.size, with_image=with_image)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    photograph = cv2.resize(photograph, size, interpolation=how)
    missed = [one for one in image.objects if not one.right]
    hit = [one for one in image.objects if one.right]
    drawn = sorted(image.detections, key=lambda one: -one.score)[:MAX_DRAWN]
    right = [one for one in drawn if one.right]
    false = [one for one in drawn if not one.right]
    truth = paint_objects(
        photograph, scale, [(hit, _RIGHT, "solid"), (missed, _MISSED, "dashed")], classes
    )
    found = paint_objects(
        photograph, scale, [(right, _RIGHT, "solid"), (false, _FALSE, "double")], classes
    )
    return truth, found


def paint_objects(
    photograph: np.ndarray,
    scale: float,
    groups: Sequence[tuple[Sequence[DrawnObject], Sequence[int], str]],
    classes: Sequence[str],
) -> np.ndarray:
    """Draw boxes and masks, with their names where no other name is.

    Args:
        photograph: (H, W, 3) uint8 RGB; it is not changed.
        scale: Pixels of the photograph for each pixel of the boxes.
        groups: Objects with their RGB and their line: ``solid``, ``dashed`` or ``double``.
        classes: Names of the classes.

    Returns:
        (H, W, 3) uint8 RGB
    """
    canvas = photograph.copy()
    names: list[tuple[DrawnObject, Sequence[int]]] = []
    for objects, colour, style in groups:
        for one in objects:
            if one.mask is not None:
                _fill(canvas, one.mask, colour)
            _draw_box(canvas, _scaled(one.box, scale), colour, style)
    for objects, colour, _ in reversed(groups):  # errors first: they are what is looked for
        names += [(one, colour) for one in sorted(objects, key=lambda one: -one.box[2])]
    return _write_names(canvas, names[:_MAX_NAMES], scale, classes)


def _scaled(box: Sequence[float], scale: float) -> Rectangle:
    x, y, w, h = box
    # Detectors that have hardly been trained predict boxes of infinite size, or none (nan).
    corners = np.nan_to_num(np.multiply((x, y, x + w, y + h), scale), nan=0.0)
    x0, y0, x1, y1 = np.clip(corners, -_FAR, _FAR).round().astype(int).tolist()
    return x0, y0, x1, y1


def _fill(canvas: np.ndarray, mask: np.ndarray, colour: Sequence[int]) -> None:
    height, width = canvas.shape[:2]
    small = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    inside = small.astype(bool)
    canvas[inside] = (1 - _OPACITY) * canvas[inside] + _OPACITY * np.asarray(colour)


def _draw_box(canvas: np.ndarray, box: Rectangle, colour: Sequence[int], style: str) -> None:
    x0, y0, x1, y1 = box
    corners = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    # A dark line below keeps the colour visible on any image.
    for line_colour, thickness in ((INK, 4), (tuple(colour), 2)):
        for start, end in zip(corners, (*corners[1:], corners[0]), strict=True):
            for first, last in _dashes(start, end) if style == "dashed" else [(start, end)]:
                cv2.line(canvas, first, last, line_colour, thickness)
    if style == "double" and x1 - x0 > 12 and y1 - y0 > 12:
        cv2.rectangle(canvas, (x0 + 4, y0 + 4), (x1 - 4, y1 - 4), tuple(colour), 1)


def _dashes(start: tuple[int, int], end: tuple[int, int]) -> list[tuple]:
    length = max(1.0, float(np.hypot(end[0] - start[0], end[1] - start[1])))
    step = np.subtract(end, start) / length
    pieces = []
    for begin in np.arange(0, length, 12):
        first, last = begin, min(begin + 7, length)
        pieces.append(
            tuple(tuple(int(v) for v in np.round(start + step * at)) for at in (first, last))
        )
    return pieces


def _write_names(
    canvas: np.ndarray,
    names: Sequence[tuple[DrawnObject, Sequence[int]]],
    scale: float,
    classes: Sequence[str],
) -> np.ndarray:
    """Write class and score beside each box, where no other name is; else leave it out."""
    from PIL import Image, ImageDraw

    sheet = Image.fromarray(canvas)
    draw = ImageDraw.Draw(sheet)
    font = text_font(_NAME_FONT)
    taken: list[Rectangle] = []
    for one, colour in names:
        text = fitted(classes[one.label], 11 * _NAME_FONT, _NAME_FONT)
        text += "" if np.isnan(one.score) else f" {one.score:.2f}"
        width, height = round(draw.textlength(text, font=font)) + 6, _NAME_FONT + 5
        place = _free_place(_scaled(one.box, scale), width, height, sheet.size, taken)
        if place is None:
            continue
        taken.append(place)
        draw.rectangle(place, fill=tuple(colour))
        light = np.dot(colour, (0.299, 0.587, 0.114)) > 110
        draw.text(
            (place[0] + 3, place[1] + 1), text, fill=INK if light else (255, 255, 255), font=font
        )
    return np.asarray(sheet)


def _free_place(
    box: Rectangle, width: int, height: int, size: tuple[int, int], taken: Sequence[Rectangle]
) -> Rectangle | None:
    """Find a place for a name at a box: above, below, then inside at its corners."""
    x0, y0, x1, y1 = box
    places = [
        *((x0, y0 - height), (x0, y1), (x1 - width, y0 - height), (x1 - width, y1)),
        *((x0, y0), (x0, y1 - height), (x1 - width, y0), (x1 - width, y1 - height)),
    ]
    for x, y in places:
        left, top = max(0, min(x, size[0] - width)), max(0, min(y, size[1] - height))
        place = (left, top, left + width, top + height)
        if not any(_meet(place, other) for other in taken):
            return place
    return None


def _meet(first: Rectangle, second: Rectangle) -> bool:
    return (
        first[0] < second[2]
        and second[0] < first[2]
        and first[1] < second[3]
        and second[1] < first[3]
    )


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"...{text[3 - length :]}"


def _legend(width: int) -> np.ndarray:
    from PIL import Image, ImageDraw

    canvas = np.full((LINE + 4, width, 3), 255, np.uint8)
    entries = (
        ("right", _RIGHT, "solid"), ("missed object", _MISSED, "dashed"),
        ("false detection", _FALSE, "double"),
    )  # fmt: skip
    for place, (_, colour, style) in enumerate(entries):
        left = 6 + 180 * place
        _draw_box(canvas, (left, 5, left + 28, LINE - 2), colour, style)
    row = Image.fromarray(canvas)
    draw, font = ImageDraw.Draw(row), text_font(FONT)
    for place, (name, _, _) in enumerate(entries):
        draw.text((44 + 180 * place, 3), name, fill=INK, font=font)
    return np.asarray(row)
