"""Images for people: what training and prediction refuse, or need a stated depth for, is shown too.

The pixels are those of the one reader where it reads the image. Where it does not, the values are
scaled so that they can be seen; nothing that is measured goes through here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmattn.errors import DataError

from .header import read_header
from .reader import bits_in_use, decode_image, decode_stored


def read_for_display(path: str | Path, *, bit_depth: int | None = None) -> np.ndarray:
    """Read an image of any depth as (H, W, 3) uint8 RGB; arguments are those of ``read_image``.

    Raises:
        DataError: The file is missing, or cannot be decoded.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    return decode_for_display(content, str(path), bit_depth=bit_depth)


def decode_for_display(content: bytes, name: str, *, bit_depth: int | None = None) -> np.ndarray:
    """Decode the bytes of an image file of any depth.

    - Of more than 8 bits without a ``bit_depth``, as many are taken as the largest value needs.
    - Of floating-point and signed values 0 is black and white is 1, 255 or the largest value, the
      first of these that is not exceeded; the lowest value is black where it is below 0.
    - Of more than three bands the first three are shown.

    Args:
        content: Content of the file.
        name: Path of the file, used in messages.
        bit_depth: Bits in use of images that have more than 8, 8 to 16.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DataError: It cannot be decoded, or has more pixels than the limit.
    """
    try:
        return np.ascontiguousarray(decode_image(content, name, bit_depth=bit_depth)[..., ::-1])
    except DataError as refusal:
        try:
            stored = decode_stored(content, read_header(content, name), name)
        except (OSError, SyntaxError, ValueError):  # DataErrors too: the first one says it best
            raise refusal from None
    values = _bands(stored)
    if values.dtype.kind == "u":
        # Not refused for its depth alone: here a stated one was exceeded, or there was none.
        eight = (values >> (bits_in_use(values) - 8)).astype(np.uint8)
    else:
        eight = _scaled(values)
    return np.ascontiguousarray(eight[..., ::-1])


def _bands(pixels: np.ndarray) -> np.ndarray:
    """Return (H, W, 3): those of a grey image are equal, further ones are left out."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] < 3:
        return np.repeat(pixels[..., :1], 3, axis=2)
    return pixels[..., :3]


def _scaled(values: np.ndarray) -> np.ndarray:
    """Return floating-point or signed values as bytes; those that are not finite are black."""
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    low, high = (
        float(reduce(values, initial=0.0, where=finite)) for reduce in (np.min, np.max)
    )  # with 0 among them
    white = next((limit for limit in (1.0, 255.0) if high <= limit), high)
    shares = np.where(finite, values - low, 0.0) / (white - low)
    return (255 * shares).round().astype(np.uint8)
