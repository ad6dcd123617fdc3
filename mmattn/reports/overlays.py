"""Class maps as colours, alone or over their image, and images as text for an HTML page."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np

Palette = Sequence[Sequence[int]]
IGNORED = 255
_IGNORED_COLOUR = (0, 0, 0)


def complete_palette(palette: Palette, count: int) -> list[tuple[int, int, int]]:
    """``palette`` for ``count`` classes; a missing colour is taken from around the hue circle."""
    colours = [tuple(int(channel) for channel in colour) for colour in palette[:count]]
    for index in range(len(colours), count):
        # Steps of the golden ratio keep neighbouring indices far apart in hue.
        hue = np.uint8(180 * ((index * 0.618034) % 1))
        hsv = np.array([[[hue, 170, 225]]], np.uint8)
        colours.append(tuple(int(c) for c in cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]))
    return colours


def colour_map(classes: np.ndarray, palette: Palette) -> np.ndarray:
    """Paint a class map.

    Args:
        classes: (H, W) class indices; what has no colour, as 255 for "ignored", is black.
        palette: RGB per class.

    Returns:
        (H, W, 3) uint8 RGB
    """
    highest = max(IGNORED, len(palette) - 1, int(classes.max(initial=0)))
    table = np.full((highest + 1, 3), _IGNORED_COLOUR, np.uint8)
    table[: len(palette)] = np.asarray(palette, np.uint8)
    return table[classes]


def blend(
    image: np.ndarray, classes: np.ndarray, palette: Palette, *, opacity: float = 0.62
) -> np.ndarray:
    """A class map over its image, with a dark line where classes meet.

    Args:
        image: (H, W, 3) uint8 RGB
        classes: (H, W) class indices
        palette: RGB per class.
        opacity: Weight of the colours, 0 to 1.

    Returns:
        (H, W, 3) uint8 RGB
    """
    # Grey, so that the colours mean classes and nothing else.
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    mixed = (1 - opacity) * grey + opacity * colour_map(classes, palette)
    border = np.zeros(classes.shape, bool)
    border[:, 1:] |= classes[:, 1:] != classes[:, :-1]
    border[1:] |= classes[1:] != classes[:-1]
    mixed[border] *= 0.45
    return mixed.clip(0, 255).astype(np.uint8)


def data_uri(image: np.ndarray, *, jpeg_quality: int | None = None) -> str:
    """An image as ``data:image/...``, to be put into a page.

    Args:
        image: (H, W, 3) uint8 RGB
        jpeg_quality: 1 to 100 for a photograph; None for PNG, which keeps flat colours exact.
    """
    kind, options = "png", []
    if jpeg_quality is not None:
        kind, options = "jpeg", [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
    done, encoded = cv2.imencode(f".{kind}", image[..., ::-1], options)
    if not done:
        raise ValueError(f"OpenCV cannot encode an array of {image.shape} {image.dtype}")
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"
