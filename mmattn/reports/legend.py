"""A legend below an image: the colours of what is painted in it, with their names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from mmattn.fonts import fitted, text_font

#: Entries of the largest legend; the rest is counted.
MOST_ENTRIES = 24
_SMALLEST_LETTERS = 11
_MARGIN = 4


def with_legend(
    image: np.ndarray, entries: Sequence[tuple[str, Sequence[int]]], *, shown: int = MOST_ENTRIES
) -> np.ndarray:
    """Return an image with a white strip below it, in which entries stand line by line.

    Nothing of the image is covered. Letters are a fortieth of the image high, 11 pixels at least.

    Args:
        image: (H, W, 3) uint8 RGB
        entries: Name and RGB of each colour, the most important first.
        shown: Largest number of entries; behind them stands how many more there are.

    Returns:
        (H + strip, W, 3) uint8 RGB; the image itself where there are no entries.
    """
    if not entries:
        return image
    height, width = image.shape[:2]
    size = max(_SMALLEST_LETTERS, round(min(height, width) / 40))
    font, line = text_font(size), size + 2 * _MARGIN
    hidden = len(entries) - shown
    items: list[tuple[str, Sequence[int] | None]] = list(entries[:shown])
    if hidden > 0:
        items.append((f"+ {hidden} more", None))
    placed, x, y = [], _MARGIN, 0
    for name, colour in items:
        box = 0 if colour is None else size + _MARGIN
        text = fitted(name, max(width - 2 * _MARGIN - box, 0), size)
        wide = box + round(font.getlength(text))
        if x > _MARGIN and x + wide + _MARGIN > width:
            x, y = _MARGIN, y + line
        placed.append((x, y, box, text, colour))
        x += wide + 3 * _MARGIN
    strip = Image.new("RGB", (width, y + line), "white")
    pen = ImageDraw.Draw(strip)
    for left, top, box, text, colour in placed:
        if colour is not None:
            corner = left, top + _MARGIN
            pen.rectangle((*corner, left + size, top + _MARGIN + size), tuple(colour), "black")
        pen.text((left + box, top + line // 2), text, fill="black", font=font, anchor="lm")
    return np.concatenate([image, np.asarray(strip)])
