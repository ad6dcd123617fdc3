"""Label maps as colours, alone or over their image, and images as text for an HTML page."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from mmattn.palette import Palette

IGNORED = 255
_IGNORED_COLOUR = (0, 0, 0)


def colour_map(classes: np.ndarray, palette: Palette) -> np.ndarray:
    """Paint a label map.

    Args:
        classes: (H, W) class indices; those without a colour, such as 255 for "ignored", are black.
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
    """Paint a label map over its image, with a dark line where classes meet.

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
    """Encode an image as ``data:image/...``, to be put into a page.

    Args:
        image: (H, W, 3) uint8 RGB
        jpeg_quality: 1 to 100 for a photograph; None for PNG, which keeps flat colours exact.
    """
    extension, options = "png", []
    if jpeg_quality is not None:
        extension, options = "jpeg", [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
    success, encoded = cv2.imencode(f".{extension}", image[..., ::-1], options)
    if not success:
        raise ValueError(f"OpenCV cannot encode an array of {image.shape} {image.dtype}")
    return f"data:image/{extension};base64,{base64.b64encode(encoded).decode()}"
