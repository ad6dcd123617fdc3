"""The one reader of images: for checks, training, prediction and export.

Any format of ``IMAGE_SUFFIXES`` becomes (H, W, 3) uint8 BGR, turned as its EXIF orientation says.

- Images of more than 8 bits need a stated ``bit_depth``, the number of bits that are in use: the
  upper 8 of them are kept. A 12-bit camera that writes 16-bit files has ``bit_depth=12``.
- Of four bands the fourth (alpha, infrared) is dropped, and of several pages all but the first; the
  checks before training say so.
- Floating-point images and those of five or more bands are refused.
"""

from __future__ import annotations

import functools
import io
import re
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmattn.errors import ConfigError, DataError, MMAttnError

from .header import SWAPPED, ImageHeader, open_image, read_header


def read_image(path: str | Path, *, bit_depth: int | None = None) -> np.ndarray:
    """Read one image as (H, W, 3) uint8 RGB, turned as EXIF says.

    Args:
        path: Path of the file.
        bit_depth: Bits in use of images that have more than 8.

    Raises:
        DataError: The file is missing, is not an image or is not understood.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such image")
    return decode_image(path.read_bytes(), str(path), bit_depth=bit_depth)[..., ::-1].copy()


def decode_image(content: bytes, name: str, *, bit_depth: int | None = None) -> np.ndarray:
    """Decode the bytes of an image file.

    Args:
        content: Content of the file.
        name: Path of the file, used in messages.
        bit_depth: Bits in use of images that have more than 8, 8 to 16.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        DataError: It is not an image, has more pixels than the limit, or holds what does not fit.
    """
    try:
        header = read_header(content, name)
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, MMAttnError):
            raise
        # OpenCV is not asked: without a header nothing says how many pixels it would decode.
        reason = re.sub(r" <_io\.BytesIO[^>]*>", "", str(error))  # which names no file
        state = f"not an image that can be read ({reason})" if content else "an empty file"
        raise DataError(f"{name}: {state}") from error
    _check_content(header, name)
    if header.bits > 8:
        return _three(_eight_of(decode_stored(content, header, name), bit_depth, name))
    if header.format == "TIFF" and header.bands in (2, 4) and not header.is_cmyk:
        # OpenCV multiplies the colours by the fourth band, whatever that is.
        return _by_pillow(content, name, header)
    pixels = _opencv(content, cv2.IMREAD_COLOR)
    if pixels is not None:
        return _turned(pixels, header, cv2.IMREAD_COLOR)
    return _by_pillow(content, name, header)


def decode_stored(content: bytes, header: ImageHeader, name: str) -> np.ndarray:
    """Decode an image with all its bits and bands, in OpenCV's order of colours, turned.

    Raises:
        DataError: OpenCV cannot decode it.
    """
    pixels = _opencv(content, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise DataError(f"{name} ({header.format}, {header.describe()}) cannot be decoded")
    return _turned(pixels, header, cv2.IMREAD_UNCHANGED)


def check_bit_depth(bit_depth: object) -> None:
    """Raise a ConfigError unless ``bit_depth`` is None or a whole number from 8 to 16."""
    if bit_depth is None:
        return
    if isinstance(bit_depth, bool) or not isinstance(bit_depth, int) or not 8 <= bit_depth <= 16:
        raise ConfigError(
            f"bit_depth={bit_depth!r}: give the number of bits that the images' values use, 8 to 16"
        )


def bits_in_use(pixels: np.ndarray) -> int:
    """Return how many bits the largest value needs, at least 8.

    >>> bits_in_use(np.array([[4095]], np.uint16))
    12
    """
    return max(8, int(pixels.max(initial=0)).bit_length())


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn (H, W) or (H, W, C) as an EXIF orientation from 1 to 8 says.

    >>> turn(np.array([[1, 2]]), 6).tolist()
    [[1], [2]]
    """
    if orientation in SWAPPED:
        pixels = pixels.swapaxes(0, 1)
    # Rows and columns to be reversed, after the swap.
    flips = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}.get(orientation, ())
    return np.ascontiguousarray(np.flip(pixels, flips)) if flips else np.ascontiguousarray(pixels)


def _check_content(header: ImageHeader, name: str) -> None:
    if header.sample != "unsigned" or header.bits > 16 or header.bits in (10, 12, 14):
        raise DataError(
            f"{name} holds {header.describe()}, which have no stated range. Save the images with "
            "8 bits, or with 16 and set bit_depth to the number of bits in use"
        )
    if header.bands > 4:
        raise DataError(
            f"{name} has {header.bands} bands: an image has one (grey) or three (red, green, "
            "blue), and a fourth is dropped. Save the three that the network should see"
        )


def _eight_of(pixels: np.ndarray, bit_depth: int | None, name: str) -> np.ndarray:
    """Return the upper 8 of the ``bit_depth`` lower bits."""
    if pixels.dtype == np.uint8:
        return pixels
    if bit_depth is None:
        raise DataError(
            f"{name} holds {pixels.dtype.itemsize * 8}-bit values up to {pixels.max()}, of which "
            f"the network takes 8 bits. Say how many are in use, such as "
            f"bit_depth={bits_in_use(pixels)} ({2 ** bits_in_use(pixels) - 1} is white then): "
            "data.bit_depth=... on the command line, or bit_depth in "
            "dict(type='mmattn.LoadImageFromFile')"
        )
    if int(pixels.max(initial=0)) >= 2**bit_depth:
        raise DataError(
            f"{name} holds values up to {pixels.max()}: bit_depth={bit_depth} goes to "
            f"{2**bit_depth - 1}. Set bit_depth={bits_in_use(pixels)}"
        )
    return (pixels >> (bit_depth - 8)).astype(np.uint8)


def _three(pixels: np.ndarray) -> np.ndarray:
    """Return three bands: those of a grey image are equal, a further one is dropped."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] < 3:
        return np.repeat(pixels[..., :1], 3, axis=2)
    return np.ascontiguousarray(pixels[..., :3])


def _opencv(content: bytes, flag: int) -> np.ndarray | None:
    if not content:
        return None
    messages = cv2.utils.logging  # about damage, which is raised with the file's name
    before = messages.setLogLevel(messages.LOG_LEVEL_SILENT)
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    except cv2.error:
        return None
    finally:
        messages.setLogLevel(before)


def _turned(pixels: np.ndarray, header: ImageHeader, flag: int) -> np.ndarray:
    if header.orientation == 1 or _opencv_turns(header.format, flag):
        return pixels
    return turn(pixels, header.orientation)


@functools.cache
def _opencv_turns(image_format: str, flag: int) -> bool:
    """Return whether this version of OpenCV turns images of a format as EXIF says."""
    content = turned_example(image_format)
    pixels = _opencv(content, flag) if content else None
    return pixels is not None and pixels.shape[0] > pixels.shape[1]


def turned_example(image_format: str) -> bytes:
    """Return an image of 1 x 2 that EXIF makes 2 x 1; empty where the format has no EXIF."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    try:
        Image.new("RGB", (2, 1)).save(file, image_format, exif=exif)
    except (KeyError, OSError, ValueError):
        return b""
    return file.getvalue()


def _by_pillow(content: bytes, name: str, header: ImageHeader) -> np.ndarray:
    """Decode what OpenCV does not read, or reads otherwise than it is stored."""
    try:
        with open_image(io.BytesIO(content)) as image:
            rgb = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{name} cannot be decoded ({error}; {len(content)} bytes)") from error
    done = pillow_turns(header.format)
    return np.ascontiguousarray(turn(rgb[..., ::-1], 1 if done else header.orientation))


@functools.cache
def pillow_turns(image_format: str) -> bool:
    """Return whether this version of Pillow turns images of a format by itself."""
    content = turned_example(image_format)
    if not content:
        return False
    with open_image(io.BytesIO(content)) as image:
        image.load()
        return image.height > image.width
