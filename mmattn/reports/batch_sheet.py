"""A sheet of training images as a network gets them, with their ground truth painted over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from mmattn.palette import Palette, complete_palette

from .detection.box_painter import paint_objects
from .detection.numbers import DrawnObject
from .legend import with_legend
from .painter import Painter
from .sheets import LINE, text_row

#: Images of a row, and width of each, in pixels.
COLUMNS, TILE = 4, 320
_GAP, _TALLEST = 8, 480


@dataclass(frozen=True, eq=False)
class TrainingImage:
    """An image of a batch.

    Attributes:
        image: (H, W, 3) uint8 RGB, augmented.
        title: Line below it, such as the name of its file.
        labels: (H, W) class indices; None where its task has none.
        objects: Boxes, with their masks where there are any, in pixels of ``image``.
    """

    image: np.ndarray
    title: str = ""
    labels: np.ndarray | None = None
    objects: tuple[DrawnObject, ...] = field(default=())


def draw_batches(
    images: Sequence[TrainingImage], classes: Sequence[str], palette: Palette | None
) -> np.ndarray:
    """Draw training images in rows of four.

    Args:
        images: At least one image.
        classes: Names of the classes.
        palette: RGB per class; missing colours are filled in.

    Returns:
        (H, W, 3) uint8 RGB
    """
    colours = complete_palette(palette or (), len(classes))
    tiles = [_tile(image, classes, colours) for image in images]
    width = COLUMNS * TILE + (COLUMNS - 1) * _GAP
    rows = []
    for begin in range(0, len(tiles), COLUMNS):
        line = tiles[begin : begin + COLUMNS]
        row = np.full((max(tile.shape[0] for tile in line) + _GAP, width, 3), 255, np.uint8)
        for place, tile in enumerate(line):
            left = place * (TILE + _GAP)
            row[: tile.shape[0], left : left + TILE] = tile
        rows.append(row)
    return with_legend(np.vstack(rows), _legend(images, classes, colours))


def _tile(image: TrainingImage, classes: Sequence[str], palette: Palette) -> np.ndarray:
    pixels = image.image
    if image.labels is not None:
        pixels = Painter.of(classes, palette).paint(pixels, image.labels)
    height, width = pixels.shape[:2]
    scale = min(TILE / width, _TALLEST / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    pixels = cv2.resize(pixels, size, interpolation=how)
    if image.objects:
        groups = [
            ([one for one in image.objects if one.label == label], palette[label], "solid")
            for label in sorted({one.label for one in image.objects})
        ]
        pixels = paint_objects(pixels, scale, groups, classes)
    tile = np.full((size[1] + LINE, TILE, 3), 255, np.uint8)
    tile[: size[1], : size[0]] = pixels
    tile[size[1] :] = text_row(TILE, image.title)
    return tile


def _legend(
    images: Sequence[TrainingImage], classes: Sequence[str], palette: Palette
) -> list[tuple[str, Sequence[int]]]:
    seen: set[int] = set()
    for image in images:
        if image.labels is not None:
            seen |= set(np.unique(image.labels).tolist())
        seen |= {one.label for one in image.objects}
    return [(classes[label], palette[label]) for label in sorted(seen) if label < len(classes)]
