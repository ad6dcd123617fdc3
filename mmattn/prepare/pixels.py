"""Sizes of images and values of masks, read to compare them with what a dataset has."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmattn.errors import DataError, one_line
from mmattn.images import open_image, read_header


@contextlib.contextmanager
def telling_damage(name: Any, what: str) -> Iterator[None]:
    """Turn what Pillow raises for a damaged image into a DataError.

    Args:
        name: Name of the file.
        what: What it should be, such as ``mask``.

    Raises:
        DataError: The image inside cannot be read.
    """
    try:
        yield
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{name} is no {what} that can be read ({one_line(error)}): the archive is damaged. "
            "Get it again"
        ) from error


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width of an image.

    Raises:
        DataError: It cannot be read.
    """
    with telling_damage(path, "image"):
        return read_header(path).size


def read_pixels(source: Path | bytes, name: str | None = None) -> np.ndarray:
    """Return the values of a mask as they are stored, (H, W) or (H, W, C).

    Args:
        source: The file, or its content.
        name: Its name, for messages.

    Raises:
        DataError: It cannot be read.
    """
    with telling_damage(name or source, "mask"):
        read_header(source, name)
        with open_image(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return np.asarray(image)  # of a palette: the numbers, not the colours


def check_values(mask: np.ndarray, allowed: frozenset[int], path: Any, name: str) -> None:
    """Refuse a mask with other values than a dataset's.

    Raises:
        DataError: It has colours, or a value that is not allowed.
    """
    if mask.ndim != 2:
        raise DataError(
            f"{path} is a mask of colours ({mask.shape[-1]} channels), and one of numbers is "
            f"expected: take the archive of label numbers of {name}"
        )
    found = set(np.unique(mask).tolist())
    wrong = sorted(found - allowed)
    if wrong:
        shown = ", ".join(map(str, wrong[:5]))
        known = sorted(allowed)
        if known[-1] == 255:
            label_range = f"{known[0]} to {known[-2]} and 255"
        else:
            label_range = f"{known[0]} to {known[-1]}"
        raise DataError(
            f"{path} has the values {shown}{', …' if len(wrong) > 5 else ''}; masks of {name} have "
            f"{label_range}. It is another edition of the dataset, or was converted by something "
            "else: get the published archive"
        )
