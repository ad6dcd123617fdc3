"""Read images and find those that cannot be read, mostly by their headers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from mmattn.errors import DataError

#: Endings, in lower case, of files that are taken for images.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
#: How the bytes of a whole file end; a file that ends otherwise is decoded to be sure.
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xae\x42\x60\x82"}
#: EXIF orientations that swap height and width when the image is loaded.
_TRANSPOSED = (5, 6, 7, 8)


def evenly(count: int, limit: int | None) -> np.ndarray:
    """Return at most ``limit`` indices spread evenly over ``range(count)``; None takes all."""
    if limit is None or count <= limit:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, limit).round().astype(np.int64))


def image_size(path: str, where: str) -> tuple[int, int] | None:
    """Height and width as the loader will see them; None for formats that only OpenCV reads.

    Only the header is read, unless the file ends like one that was cut off.

    Raises:
        DataError: The file is empty, cut off or not an image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as image:
                width, height = image.size
                kind = image.format
                turned = kind == "JPEG" and image.getexif().get(0x0112, 1) in _TRANSPOSED
        except Image.DecompressionBombError:
            return None  # huge, not wrong
        except (OSError, SyntaxError, ValueError) as error:
            if os.path.getsize(path) and cv2.imread(path, cv2.IMREAD_UNCHANGED) is not None:
                return None
            raise _unreadable(path, where, error) from error
    if kind in _ENDS and not _ends_with(path, _ENDS[kind]):
        decode(path, where)
    return (width, height) if turned else (height, width)


def _ends_with(path: str, ending: bytes) -> bool:
    with open(path, "rb") as file:
        file.seek(-min(len(ending), os.path.getsize(path)), os.SEEK_END)
        return file.read() == ending


def decode(path: str, where: str) -> np.ndarray:
    """Return all pixels as stored: ``(H, W)`` or ``(H, W, C)``; palettes stay indices.

    Raises:
        DataError: The file is empty, cut off or not an image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as image:
                # The loaders turn images as EXIF says; index masks carry no such entry.
                return np.asarray(ImageOps.exif_transpose(image))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            pixels = None
            if "truncated" not in str(error) and os.path.getsize(path):
                pixels = cv2.imread(path, cv2.IMREAD_UNCHANGED)
            if pixels is None:
                raise _unreadable(path, where, error) from error
            return pixels


def _unreadable(path: str, where: str, error: BaseException) -> DataError:
    size = os.path.getsize(path)
    state = "is empty" if size == 0 else f"cannot be decoded ({error}; {size} bytes)"
    return DataError(
        f"{where}: the image {path} {state}. Fetch or export it again, or take it out of the data"
    )


def read_image(path: str | Path) -> np.ndarray:
    """Read one image as (H, W, 3) uint8 RGB, turned as EXIF says.

    Raises:
        DataError: The file is missing or is not an image.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such image")
    bgr = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise DataError(f"{path}: not an image that OpenCV can read")
    return bgr[..., ::-1].copy()


def check_images(entries: Sequence[dict], where: str, limit: int | None) -> int:
    """Read the headers of images, compare them with the size that the annotation file states.

    Args:
        entries: Entries of the dataset, with ``img_path``, and ``height`` and ``width``
            where annotated.
        where: Config key of the dataset, used in messages.
        limit: Largest number of files to look at, evenly spread; None looks at all.

    Returns:
        How many were looked at.

    Raises:
        DataError: An image that cannot be read or has another size than annotated.
    """
    chosen = evenly(len(entries), limit)
    for index in chosen:
        entry = entries[index]
        size = image_size(entry["img_path"], where)
        stated = (entry.get("height"), entry.get("width"))
        # A swapped pair comes from EXIF orientation, which tools treat in both ways.
        if size and None not in stated and sorted(stated) != sorted(size):
            raise DataError(
                f"{where}: the image {entry['img_path']} is {size[0]} x {size[1]} (height x "
                f"width), its annotation says {stated[0]} x {stated[1]}. Boxes and masks would "
                "not fit: annotate the image that is there, or restore the annotated one"
            )
    return len(chosen)
