"""What the header of an image says: size, orientation, bits, bands and pages; no pixel is decoded.

One rule for EXIF: images and masks of every format are turned as their orientation says.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, TiffImagePlugin

from mmattn.errors import ConfigError, DataError, one_line

#: Environment variable that sets the largest number of pixels of an image.
LIMIT_VARIABLE = "MMATTN_MAX_IMAGE_PIXELS"
#: 16384 x 16384: 0.8 GB of memory for three colours.
DEFAULT_LIMIT = 2**28
#: EXIF orientations that swap height and width.
SWAPPED = (5, 6, 7, 8)

_ORIENTATION = 0x0112
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_BANDS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_SAMPLES = {1: "unsigned", 2: "signed", 3: "float"}
# Pillow has one limit for the whole process and another size than ours for it.
_LOCK = threading.RLock()


@dataclass(frozen=True)
class ImageHeader:
    """Header of an image file.

    Attributes:
        format: Name of the format as Pillow has it, such as ``PNG``.
        stored_size: Height and width as stored, before the image is turned.
        orientation: EXIF orientation, 1 to 8.
        bands: Number of channels; 1 for a palette.
        bits: Bits of a sample.
        sample: ``unsigned``, ``signed`` or ``float``.
        pages: Number of pages or frames.
        is_cmyk: Whether the four bands are printing colours.
    """

    format: str
    stored_size: tuple[int, int]
    orientation: int = 1
    bands: int = 3
    bits: int = 8
    sample: str = "unsigned"
    pages: int = 1
    is_cmyk: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width after the image was turned as its orientation says."""
        height, width = self.stored_size
        return (width, height) if self.orientation in SWAPPED else (height, width)

    @property
    def is_plain(self) -> bool:
        """Whether an image is grey or RGB with at most 8 bits and one page, as most are."""
        return (
            self.bits <= 8
            and self.sample == "unsigned"
            and (self.bands in (1, 3) or self.is_cmyk)
            and self.pages == 1
        )

    def describe(self) -> str:
        """Return what is stored, for messages, such as ``5 bands of 16-bit unsigned numbers``."""
        bands = "1 band" if self.bands == 1 else f"{self.bands} bands"
        kind = {"unsigned": "unsigned ", "signed": "signed ", "float": "floating-point "}
        return f"{bands} of {self.bits}-bit {kind[self.sample]}numbers"


def max_pixels() -> int:
    """Return the largest number of pixels that an image may have.

    Raises:
        ConfigError: ``MMATTN_MAX_IMAGE_PIXELS`` is not a whole number above 0.
    """
    text = os.environ.get(LIMIT_VARIABLE)
    if text is None:
        return DEFAULT_LIMIT
    if not text.strip().isdecimal() or int(text) < 1:
        raise ConfigError(f"{LIMIT_VARIABLE}={text!r}: give a number of pixels, such as 500000000")
    return int(text)


def read_header(source: str | os.PathLike | bytes, name: str | None = None) -> ImageHeader:
    """Read the header of an image.

    Args:
        source: Path of the file, or its content.
        name: Path of the file, used in messages; taken from ``source`` by default.

    Raises:
        DataError: The image has more pixels than the limit.
        OSError: The file is empty or not an image; so do ``SyntaxError`` and ``ValueError``.
    """
    name = name or (os.fspath(source) if not isinstance(source, bytes) else "the image")
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        start = file.read(26)
        file.seek(0)
        try:
            header = _parsed(file, start)
        except (OSError, SyntaxError, ValueError, MemoryError):
            raise
        except Exception as error:  # struct.error, IndexError, …: what damage ends in
            raise OSError(f"cannot identify image file: {one_line(error)}") from error
    height, width = header.stored_size
    if height * width > max_pixels():
        raise DataError(
            f"{name} is {height} x {width} (height x width), {height * width} pixels; the limit is "
            f"{max_pixels()}. Cut it into tiles, or set the environment variable "
            f"{LIMIT_VARIABLE}={height * width} if the memory suffices"
        )
    return header


def _parsed(file: BinaryIO, start: bytes) -> ImageHeader:
    if start[:4] not in _TIFF_MAGIC:
        return _from_pillow(file, start)
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damage, which is raised with the file's name
        return _from_tiff(file)


def _from_tiff(file: BinaryIO) -> ImageHeader:
    start = file.read(8)
    if 43 in start[2:4]:  # BigTIFF
        start += file.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(start)
    first, pages, seen = None, 0, set()
    place = tags.next
    while place and place not in seen:
        seen.add(place)
        file.seek(place)
        try:
            tags.load(file)
        except Exception:  # a directory cut off after the first one is not an image of its own
            if first is None:
                raise
            break
        if first is None:
            first = dict(tags)
        if not tags.get(254, 0) & 1:  # not a small copy of another page
            pages += 1
        place = tags.next
    if not first or 256 not in first or 257 not in first:
        raise OSError("cannot identify image file: the TIFF has no size")
    bits = first.get(258, (1,))
    sample = first.get(339, (1,))
    bits = bits if isinstance(bits, tuple) else (bits,)
    sample = sample if isinstance(sample, tuple) else (sample,)
    return ImageHeader(
        "TIFF",
        (int(first[257]), int(first[256])),
        orientation=_known(first.get(274, 1)),
        bands=int(first.get(277, 1)),
        bits=int(max(bits)),
        sample=_SAMPLES.get(int(sample[0]), "unsigned"),
        pages=max(pages, 1),
        is_cmyk=first.get(262) == 5,
    )


def _from_pillow(file: BinaryIO, start: bytes) -> ImageHeader:
    with open_image(file) as image:
        width, height = image.size
        bits = 1 if image.mode == "1" else 8
        bands = len(image.getbands())
        if start[:8] == _PNG_MAGIC:
            bits, bands = start[24], _PNG_BANDS.get(start[25], bands)
        sample = "float" if image.mode == "F" else "unsigned"
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            bits = {"I": max(bits, 16), "F": 32}.get(image.mode, 16)
        # A JPEG of several pictures, as phones write it, holds the photograph first.
        frames = 1 if image.format in ("JPEG", "MPO") else getattr(image, "n_frames", 1)
        exif = image.info.get("exif")
        orientation = 1
        if isinstance(exif, bytes) and exif:
            tags = Image.Exif()
            try:
                tags.load(exif)
                orientation = _known(tags.get(_ORIENTATION, 1))
            except Exception:  # damaged metadata turn nothing, in any decoder
                orientation = 1
        kind = "JPEG" if image.format == "MPO" else image.format or "unknown"
        return ImageHeader(
            kind,
            (height, width),
            orientation=orientation,
            bands=bands,
            bits=bits,
            sample=sample,
            pages=frames,
            is_cmyk=image.mode == "CMYK",
        )


def _known(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


@contextmanager
def open_image(source: str | os.PathLike | BinaryIO) -> Iterator[Image.Image]:
    """Open an image with Pillow; its limit of pixels is left to ``read_header``."""
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            with Image.open(source) as image:
                yield image
        finally:
            Image.MAX_IMAGE_PIXELS = before
