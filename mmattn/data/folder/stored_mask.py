"""A mask file as it is stored: one channel or colours, a palette, an alpha channel, any depth."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mmattn.errors import DataError, MMAttnError
from mmattn.given_words import of_dataset
from mmattn.images.header import ImageHeader, open_image, read_header
from mmattn.images.reader import decode_stored, pillow_turns, turn

#: Pillow's modes with one channel; ``P`` holds indices into a palette.
_ONE_CHANNEL = ("1", "L", "P", "I", "F")


@dataclass(frozen=True)
class StoredMask:
    """The pixels of a mask file.

    Attributes:
        path: Path of the file.
        values: (H, W) numbers as stored, bool for one bit, indices for a palette; None for colours.
        colours: (H, W, 3) uint8 RGB; None for one channel.
        alpha: (H, W) uint8; None without an alpha channel.
        palette: (256, 3) uint8, the colours of ``values``; None where a value v shows as (v, v, v).
    """

    path: str
    values: np.ndarray | None
    colours: np.ndarray | None = None
    alpha: np.ndarray | None = None
    palette: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return (self.colours if self.values is None else self.values).shape[:2]

    @property
    def is_grey(self) -> bool:
        """Whether the three channels agree everywhere, as in a grey image saved as RGB."""
        if self.values is not None:
            return True
        red = self.colours[..., 0]
        return bool((red == self.colours[..., 1]).all() and (red == self.colours[..., 2]).all())

    @property
    def is_see_through(self) -> bool:
        """Whether an alpha channel says that something is not opaque."""
        return self.alpha is not None and bool((self.alpha != 255).any())

    def grey(self) -> np.ndarray:
        """(H, W) values; those of one channel where the three agree.

        Raises:
            DataError: They do not.
        """
        if self.values is not None:
            return self.values
        if not self.is_grey:
            found = np.unique(self.colours.reshape(-1, 3), axis=0)
            listed = ", ".join(map(str, map(tuple, found[-3:].tolist())))
            raise DataError(
                f"the mask {self.path} has {len(found)} colours, such as {listed}, where one "
                "channel of numbers is expected. Colours need their names in classes.json, "
                f'{{"road": [128, 64, 128]}}, and {of_dataset("mask_format")}=rgb'
            )
        return self.colours[..., 0]

    def rgb(self) -> np.ndarray:
        """(H, W, 3) uint8 colours; a grey value v is (v, v, v).

        Raises:
            DataError: Values beyond 8 bits have no colour.
        """
        if self.colours is not None:
            return self.colours
        if self.palette is not None:
            return self.palette[self.values.astype(np.uint8)]
        if self.values.size and int(self.values.max()) > 255:
            raise DataError(
                f"the mask {self.path} holds {self.values.dtype} values up to "
                f"{self.values.max()}, which are no colours. Set {of_dataset('mask_format')}=index"
            )
        grey = self.values.astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)


def read_mask(path: str) -> StoredMask:
    """Decode a mask file, turned as its EXIF orientation says, as images are.

    Raises:
        DataError: It is empty, cut off, not an image, has several pages or too many pixels.
    """
    try:
        header = read_header(path, f"the mask {path}")
        _check_one_page(header, path)
        if header.bits == 16 and header.bands > 1:  # of which Pillow drops 8
            return _deep_colours(path, header)
        with open_image(path) as image:
            image.load()
            return _from_pillow(image, path, header)
    except MMAttnError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        size = os.path.getsize(path)
        state = "is empty" if size == 0 else f"cannot be decoded ({error}; {size} bytes)"
        raise DataError(
            f"the mask {path} {state}. Fetch or export it again, or take it out of the data"
        ) from error


def _check_one_page(header: ImageHeader, path: str) -> None:
    if header.pages > 1:
        raise DataError(
            f"the mask {path} has {header.pages} pages or frames, and a mask is one. Save the one "
            "that belongs to the image as a PNG"
        )
    if header.bands > 4:
        raise DataError(
            f"the mask {path} has {header.bands} bands: a mask has one of class indices, or three "
            "of a colour. Save the index of each pixel's class as an 8-bit PNG"
        )


def _from_pillow(image: Image.Image, path: str, header: ImageHeader) -> StoredMask:
    turned = pillow_turns(header.format)

    def array(pixels: Image.Image) -> np.ndarray:
        return turn(np.asarray(pixels), 1 if turned else header.orientation)

    mode = image.mode
    if mode == "P" and header.format == "GIF":
        # A GIF has no grey and no fixed indices: its writers number the colours that occur anew.
        return StoredMask(path, **_shades_or_colours(array(image.convert("RGB"))))
    if mode.partition(";")[0] in _ONE_CHANNEL:
        if mode == "1":  # Pillow's bytes for "true" are not 1
            values = array(image.convert("L")) != 0
        else:
            values = array(image)
        if mode == "F":
            values = _whole_numbers(values, path)
        return StoredMask(path, values, palette=_palette(image))
    alpha = array(image.getchannel("A")) if "A" in image.getbands() else None
    if mode == "LA":
        return StoredMask(path, array(image.getchannel("L")), alpha=alpha)
    return StoredMask(path, None, array(image.convert("RGB")), alpha)


def _shades_or_colours(rgb: np.ndarray) -> dict[str, np.ndarray | None]:
    """Return the values of grey pixels, else their colours."""
    grey = (rgb == rgb[..., :1]).all()
    return {"values": rgb[..., 0], "colours": None} if grey else {"values": None, "colours": rgb}


def _deep_colours(path: str, header: ImageHeader) -> StoredMask:
    with open(path, "rb") as file:
        pixels = decode_stored(file.read(), header, f"the mask {path}")
    if pixels.ndim == 2:
        return StoredMask(path, pixels)
    alpha = None
    if pixels.shape[2] == 4:
        alpha = (pixels[..., 3] >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else None
    rgb = pixels[..., 2::-1]
    if (rgb == rgb[..., :1]).all():
        return StoredMask(path, rgb[..., 0], alpha=alpha)
    if pixels.dtype == np.uint16:
        if int(rgb.max()) <= 255:
            rgb = rgb.astype(np.uint8)
        elif not (rgb % 257).any():  # 8 bits stretched to 16
            rgb = (rgb // 257).astype(np.uint8)
        elif not (rgb % 256).any():
            rgb = (rgb // 256).astype(np.uint8)
        else:
            raise DataError(
                f"the mask {path} has colours of 16 bits, such as "
                f"{tuple(rgb.reshape(-1, 3).max(0).tolist())}. Save it with 8 bits for each of "
                "red, green and blue"
            )
    return StoredMask(path, None, rgb, alpha)


def _palette(image: Image.Image) -> np.ndarray | None:
    found = {"1": [0, 0, 0, 255, 255, 255], "P": image.getpalette("RGB")}.get(image.mode)
    if found is None:
        return None
    table = np.zeros((256, 3), np.uint8)
    table[: len(found) // 3] = np.reshape(found, (-1, 3))
    return table


def _whole_numbers(values: np.ndarray, path: str) -> np.ndarray:
    whole = np.rint(values)
    if not np.array_equal(whole, values):
        odd = values[whole != values].flat[0]
        raise DataError(
            f"the mask {path} holds floating-point numbers such as {odd:g}: class indices are "
            "whole numbers. Store them as an 8-bit PNG"
        )
    return whole.astype(np.int64)
