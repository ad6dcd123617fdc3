"""Texts that Pillow writes into images, in a font that has the letters of most languages."""

from __future__ import annotations

import functools
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont


@functools.cache
def text_font(size: int) -> FreeTypeFont:
    """Return matplotlib's DejaVu Sans, which has Latin with all accents, Greek and Cyrillic.

    Pillow's own default has ASCII alone: class names with umlauts become empty boxes.

    Args:
        size: Height of the letters in pixels.
    """
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def fitted(text: str, width: float, size: int) -> str:
    """Return text as it is drawn in at most ``width`` pixels, cut at its end where it is longer.

    Accents are put into their letters: names of files of macOS hold the two apart, which Pillow
    would write side by side.

    Args:
        text: A single line.
        width: Room in pixels.
        size: Height of the letters in pixels.
    """
    text, font = unicodedata.normalize("NFC", text), text_font(size)
    if font.getlength(text) <= width:
        return text
    length = len(text)
    while length and font.getlength(f"{text[:length].rstrip()}…") > width:
        length -= 1
    return f"{text[:length].rstrip()}…"
