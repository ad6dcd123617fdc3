"""Pieces of a sheet of images: its photographs, and the lines of text between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmattn.fonts import fitted, text_font

from .painter import read_photograph

#: Colours of text and frames, and of the paper that stands for an image.
INK, PAPER = (17, 24, 39), (229, 231, 235)
#: Height of a line of text, and size of its letters, in pixels.
LINE, FONT = 22, 13


def photograph_or_paper(file: str, size: tuple[int, int], *, with_image: bool) -> np.ndarray:
    """Return an image to paint over, (H, W, 3) uint8 RGB.

    Args:
        file: Path of the image.
        size: Its height and width.
        with_image: Whether to read it; plain grey otherwise, as where the file is gone.
    """
    if with_image and Path(file).is_file():
        return read_photograph(file, size)
    return np.full((*size, 3), PAPER, np.uint8)


def text_row(width: int, text: str) -> np.ndarray:
    """Write a line of text on white, cut to ``width``; returns (22, width, 3) uint8 RGB."""
    from PIL import Image, ImageDraw

    row = Image.new("RGB", (width, LINE), (255, 255, 255))
    draw = ImageDraw.Draw(row)
    draw.text((2, 2), fitted(text, width - 4, FONT), fill=INK, font=text_font(FONT))
    return np.asarray(row)
