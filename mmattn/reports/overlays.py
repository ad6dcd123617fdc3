"""Label maps as colours, alone or over their image, and images as files or text of a page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmattn.io import atomic_write
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
    image: np.ndarray,
    classes: np.ndarray,
    palette: Palette,
    *,
    opacity: float = 0.62,
    unpainted: Sequence[int] = (),
) -> np.ndarray:
    """Paint a label map over its image, with a dark line around regions that are wide enough.

    Args:
        image: (H, W, 3) uint8 RGB
        classes: (H, W) class indices
        palette: RGB per class.
        opacity: Weight of the colours, 0 to 1.
        unpainted: Indices of classes whose pixels stay those of the image.

    Returns:
        (H, W, 3) uint8 RGB
    """
    # Grey, so that the colours mean classes and nothing else.
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    mixed = (1 - opacity) * grey + opacity * colour_map(classes, palette)
    painted = ~np.isin(classes, list(unpainted)) if len(unpainted) else np.ones(classes.shape, bool)
    mixed[outlines(classes, painted)] *= 0.45
    mixed = mixed.clip(0, 255).astype(np.uint8)
    return np.where(painted[..., None], mixed, image)


def outlines(classes: np.ndarray, painted: np.ndarray) -> np.ndarray:
    """Find the pixels of lines between regions, which must not cover an object.

    A line lies inside a region, where a square of a few times its thickness fits; the thickness
    grows with the image. Thin objects, such as wires and vessels, have none.

    Args:
        classes: (H, W) class indices
        painted: (H, W) bool, where a line may be.

    Returns:
        (H, W) bool
    """
    thickness = max(1, round(max(classes.shape) / 800))
    side = 2 * thickness + 5
    square = np.ones((side, side), np.uint8)
    labels = classes.astype(np.int32).astype(np.float32)  # exact up to 2 ** 24
    # Beyond the image there is another class: what is thin stays thin at its edge.
    beyond = {"borderType": cv2.BORDER_CONSTANT, "borderValue": -1.0}
    same = cv2.erode(labels, square, **beyond) == cv2.dilate(labels, square, **beyond)
    pure = same.astype(np.uint8)
    # Around the centre of a square of one class, all of the square is of that class.
    allowed = cv2.dilate(pure, square).astype(bool) & painted
    lines = np.zeros(classes.shape, bool)
    for first, second in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        edge = classes[first] != classes[second]
        lines[second] |= edge & allowed[second]
        lines[first] |= edge & allowed[first] & ~allowed[second]
    if thickness > 1:
        wider = cv2.dilate(lines.astype(np.uint8), np.ones((thickness, thickness), np.uint8))
        lines = wider.astype(bool) & allowed
    return lines


def data_uri(image: np.ndarray, *, jpeg_quality: int | None = None) -> str:
    """Encode an image as ``data:image/...``, to be put into a page.

    Args:
        image: (H, W, 3) uint8 RGB
        jpeg_quality: 1 to 100 for a photograph; None for PNG, which keeps flat colours exact.
    """
    extension = "png" if jpeg_quality is None else "jpeg"
    encoded = base64.b64encode(_encoded(image, jpeg_quality)).decode()
    return f"data:image/{extension};base64,{encoded}"


def save_image(image: np.ndarray, path: Path, *, jpeg_quality: int | None = None) -> None:
    """Write an image; the file appears only when it is complete.

    Args:
        image: (H, W, 3) uint8 RGB
        path: File to write.
        jpeg_quality: 1 to 100 for a JPEG; None for PNG.
    """
    content = _encoded(image, jpeg_quality)
    with atomic_write(path) as file:
        file.write(content)


def _encoded(image: np.ndarray, jpeg_quality: int | None) -> bytes:
    extension, options = ".png", []
    if jpeg_quality is not None:
        extension, options = ".jpg", [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
    success, encoded = cv2.imencode(extension, image[..., ::-1], options)
    if not success:
        raise ValueError(f"OpenCV cannot encode an image of shape {image.shape} {image.dtype}")
    return encoded.tobytes()
