"""Files that are taken for images, and a sample of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

#: Endings, in lower case, of files that are taken for images.
IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".jpe"),
    *(".bmp", ".tif", ".tiff", ".webp", ".gif"),
)


def is_image_file(name: str) -> bool:
    """Return whether a file is taken for an image by its name; hidden ones are passed over.

    macOS leaves a hidden ``._a.png`` beside ``a.png`` on disks of other systems.

    >>> is_image_file("a.PNG"), is_image_file("._a.png"), is_image_file("a.txt")
    (True, False, False)
    """
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def list_images(folder: str | Path) -> list[Path]:
    """Return the images that lie in a folder, sorted by name; hidden ones are passed over."""
    return sorted(f for f in Path(folder).iterdir() if is_image_file(f.name) and f.is_file())


def images_below(folder: str | Path) -> list[Path]:
    """Return the images in a folder and all of its sub-folders, sorted; hidden ones are not."""
    return sorted(f for f in Path(folder).rglob("*") if is_image_file(f.name) and f.is_file())


def evenly(count: int, limit: int | None) -> np.ndarray:
    """Return at most ``limit`` indices spread evenly over ``range(count)``; None takes all."""
    if limit is None or count <= limit:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, limit).round().astype(np.int64))
