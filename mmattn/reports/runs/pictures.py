"""Pictures that a run left, made small enough to be part of a page."""

from __future__ import annotations

from pathlib import Path

import cv2

from mmattn.reports.html import components as part
from mmattn.reports.html.components import Html
from mmattn.reports.overlays import data_uri

#: Wider pictures are made smaller, in pixels.
_WIDEST = 1600
_QUALITY = 82


def picture(file: Path, description: str, caption: str = "") -> list[Html]:
    """Return a picture as a part of a page; nothing where the file is missing or damaged.

    Args:
        file: A PNG or JPEG.
        description: What it shows, for readers who cannot see it.
        caption: Line below it.
    """
    image = cv2.imread(str(file), cv2.IMREAD_COLOR) if file.is_file() else None
    if image is None:
        return []
    height, width = image.shape[:2]
    if width > _WIDEST:
        size = (_WIDEST, max(1, round(height * _WIDEST / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return [part.sheet(data_uri(image[..., ::-1], jpeg_quality=_QUALITY), description, caption)]
