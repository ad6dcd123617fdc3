"""Draw detections over an image: boxes in the colours of their classes, with readable labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from mmattn.fonts import fitted, text_font
from mmattn.palette import complete_palette

from .detections import Detections


def draw_detections(
    image: np.ndarray,
    detections: Detections,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]] | None = None,
    *,
    scores: bool = True,
) -> np.ndarray:
    """Draw boxes with the name of the class and the score.

    The label stands above its box, or inside where the image ends; its letters are black or white,
    whichever contrasts more with the colour of the class. The best detection is drawn last, so that
    its label is never covered.

    Args:
        image: (H, W, 3) uint8 RGB
        detections: Boxes in pixels of ``image``.
        classes: Class names by index.
        palette: RGB per class; missing colours are filled in.
        scores: Whether the score stands behind the name of the class.

    Returns:
        A new image, (H, W, 3) uint8 RGB.
    """
    colours = complete_palette(palette or (), len(classes))
    height, width = image.shape[:2]
    size = max(11, round(min(height, width) / 45))
    line = max(1, round(min(height, width) / 300))
    font = text_font(size)
    canvas = Image.fromarray(np.ascontiguousarray(image))
    pen = ImageDraw.Draw(canvas)
    for index in reversed(range(len(detections))):
        label = int(detections.labels[index])
        colour = colours[label]
        left, top, right, bottom = detections.boxes[index].tolist()
        left, right = (float(np.clip(x, 0, width - 1)) for x in (left, right))
        top, bottom = (float(np.clip(y, 0, height - 1)) for y in (top, bottom))
        if right < left or bottom < top:
            continue
        pen.rectangle((left, top, right, bottom), outline=colour, width=line)
        score = f" {detections.scores[index]:.2f}" if scores else ""
        room = width - 4 - font.getlength(score)
        text = fitted(classes[label], max(room, 0), size) + score
        x0, y0, x1, y1 = pen.textbbox((0, 0), text, font=font)
        text_width, text_height = x1 - x0 + 4, y1 - y0 + 4
        x = max(min(left, width - text_width), 0)
        y = top - text_height if top >= text_height else top
        pen.rectangle((x, y, x + text_width, y + text_height), fill=colour)
        pen.text((x + 2 - x0, y + 2 - y0), text, fill=_ink(colour), font=font)
    return np.asarray(canvas)


def _ink(colour: Sequence[int]) -> tuple[int, int, int]:
    """Black on light colours, white on dark ones; the luma of ITU-R BT.601."""
    red, green, blue = colour
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
