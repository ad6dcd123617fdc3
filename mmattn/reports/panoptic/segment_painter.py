"""Segments painted over their images: each thing in a shade of its class, void left as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from mmattn.fonts import fitted, text_font
from mmattn.palette import Palette
from mmattn.reports.overlays import blend
from mmattn.reports.painter import OUTCOMES
from mmattn.reports.sheets import FONT, INK, LINE, photograph_or_paper, text_row

from .numbers import DrawnMap, PanopticNumbers, WorstImage

#: What the tiles of an image show, from left to right.
TILES = ("ground truth", "prediction", "outcome")
_TILE, _GAP = 400, 8
_OPACITY = 0.62
# Factors of lightness, so that neighbouring objects of a class differ.
_SHADES = (1.0, 0.7, 1.3, 0.85, 1.15, 0.55)
_RIGHT, _MISSED, _FALSE = range(1, 4)
_OUTCOME_PALETTE = [(0, 0, 0), *(colour for _, colour in OUTCOMES)]


class Segments(Protocol):
    """A map of segments: ``DrawnMap``, or a ``SegmentMap`` at the size of its image.

    Attributes:
        index: (H, W), place of the segment plus 1, 0 for void.
        labels: (n,), class index of each segment.
    """

    @property
    def index(self) -> np.ndarray: ...
    @property
    def labels(self) -> np.ndarray: ...


def paint_segments(
    image: np.ndarray, segments: Segments, palette: Palette, things: Sequence[bool]
) -> np.ndarray:
    """Paint segments over an image.

    Args:
        image: (H, W, 3) uint8 RGB, of the size of the map.
        segments: The segments.
        palette: RGB of each class.
        things: Whether each class is a thing, whose objects differ in lightness.

    Returns:
        (H, W, 3) uint8 RGB
    """
    seen: dict[int, int] = {}
    colours: list[Sequence[int]] = [(0, 0, 0)]
    for label in segments.labels.tolist():
        number = seen.get(label, 0)
        seen[label] = number + 1
        shade = _SHADES[number % len(_SHADES)] if things[label] else 1.0
        colours.append([min(255, round(shade * channel)) for channel in palette[label]])
    return blend(image, segments.index, colours, opacity=_OPACITY, unpainted=(0,))


def paint_outcome(image: np.ndarray, truth: DrawnMap, predicted: DrawnMap) -> np.ndarray:
    """Paint what became of the pixels: of matched, missed and false segments.

    Returns:
        (H, W, 3) uint8 RGB
    """
    missed = np.concatenate([[False], truth.wrong])[truth.index]
    false = np.concatenate([[False], predicted.wrong])[predicted.index]
    hit = np.concatenate([[False], ~truth.wrong & ~truth.crowd])[truth.index]
    outcome = np.select([false, missed, hit], [_FALSE, _MISSED, _RIGHT], default=0)
    return blend(image, outcome, _OUTCOME_PALETTE, opacity=_OPACITY, unpainted=(0,))


def draw_tiles(
    image: WorstImage, numbers: PanopticNumbers, *, with_image: bool = True
) -> list[np.ndarray]:
    """Draw an image as ``TILES``.

    Args:
        image: Image and its segments.
        numbers: Numbers that it belongs to.
        with_image: Whether to paint over the image, or over plain grey, as where its file is gone.

    Returns:
        Images of one size, (H, 400, 3) uint8 RGB.
    """
    shape = image.truth.index.shape
    photograph = photograph_or_paper(image.name, (shape[0], shape[1]), with_image=with_image)
    tiles = [
        paint_segments(photograph, image.truth, numbers.palette, numbers.things),
        paint_segments(photograph, image.predicted, numbers.palette, numbers.things),
        paint_outcome(photograph, image.truth, image.predicted),
    ]
    size = (_TILE, max(1, round(shape[0] * _TILE / shape[1])))
    how = cv2.INTER_AREA if shape[1] > _TILE else cv2.INTER_NEAREST
    return [cv2.resize(tile, size, interpolation=how) for tile in tiles]


def draw_sheet(numbers: PanopticNumbers, *, with_images: bool = True) -> np.ndarray:
    """Draw the worst images below each other.

    Args:
        numbers: Numbers with at least one worst image.
        with_images: Whether to paint over the images, or over plain grey.

    Returns:
        (H, W, 3) uint8 RGB
    """
    width = len(TILES) * _TILE + (len(TILES) - 1) * _GAP
    rows = [text_row(width, f"Lowest panoptic quality: {', '.join(TILES)}"), _legend(width)]
    for image in numbers.worst:
        tiles = draw_tiles(image, numbers, with_image=with_images)
        gap = np.full((tiles[0].shape[0], _GAP, 3), 255, np.uint8)
        row = [part for tile in tiles for part in (tile, gap)][:-1]
        rows += [text_row(width, describe(image)), np.hstack(row)]
        present = sorted({*image.truth.labels.tolist(), *image.predicted.labels.tolist()})
        names = [(numbers.classes[label], numbers.palette[label]) for label in present]
        rows += [_swatches(width, names), np.full((_GAP, width, 3), 255, np.uint8)]
    return np.vstack(rows)


def describe(image: WorstImage) -> str:
    """Return the name of an image and what is right and wrong in it, in one line."""
    quality = "-" if image.quality != image.quality else f"{100 * image.quality:.1f}"
    return (
        f"{Path(image.name).name}: PQ {quality}, {image.matched} matched, {image.false} false, "
        f"{image.missed} missed"
    )


def _legend(width: int) -> np.ndarray:
    entries = [
        (f"{name} segment" if name != "right" else "matched segment", colour)
        for name, colour in OUTCOMES
    ]
    return _swatches(width, entries)


def _swatches(width: int, entries: Sequence[tuple[str, Sequence[int]]]) -> np.ndarray:
    """Write names behind patches of their colours, in as many lines as they need."""
    from PIL import Image, ImageDraw

    font = text_font(FONT)
    probe = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    lines: list[list[tuple[int, str, Sequence[int]]]] = [[]]
    left = 2
    for name, colour in entries:
        text = fitted(name, 160, FONT)
        needed = 18 + round(probe.textlength(text, font=font)) + 14
        if left + needed > width and lines[-1]:
            lines.append([])
            left = 2
        lines[-1].append((left, text, colour))
        left += needed
    sheet = Image.new("RGB", (width, LINE * len(lines)), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        top = LINE * number
        for x, text, colour in line:
            patch = (x, top + 5, x + 12, top + 17)
            draw.rectangle(patch, fill=tuple(map(int, colour)), outline=INK)
            draw.text((x + 18, top + 2), text, fill=INK, font=font)
    return np.asarray(sheet)
