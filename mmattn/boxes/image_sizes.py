"""Sizes of images, from their headers."""

from __future__ import annotations

from mmattn.errors import DataError
from mmattn.images import read_header


def size_of(path: str) -> tuple[int, int]:
    """Return height and width of an image, turned as EXIF says.

    Raises:
        DataError: The file is not an image.
    """
    try:
        return read_header(path).size
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"the image {path} cannot be read ({error}). Fetch or export it again, or take it out "
            "of the data"
        ) from error
