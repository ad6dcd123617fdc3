"""A mask file as it is stored: one channel or colours, a palette, an alpha channel, any depth."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from mmattn.data.images import decode
from mmattn.errors import DataError

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
                '{"road": [128, 64, 128]}, and mask_format=rgb'
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
                f"{self.values.max()}, which are no colours. Set mask_format=index"
            )
        grey = self.values.astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)


def read_mask(path: str) -> StoredMask:
    """Decode a mask file.

    Raises:
        DataError: It is empty, cut off or not an image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as image:
                return _from_pillow(ImageOps.exif_transpose(image), path)
        except DataError:
            raise
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            # What Pillow cannot read OpenCV may; otherwise this names the file and the reason.
            pixels = decode(path, "masks")
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):  # OpenCV's order is BGR(A)
        alpha = _eight_bits(pixels[..., 3]) if pixels.shape[2] == 4 else None
        return StoredMask(path, None, _eight_bits(pixels[..., 2::-1]), alpha)
    return StoredMask(path, pixels.reshape(pixels.shape[:2]))


def _from_pillow(image: Image.Image, path: str) -> StoredMask:
    mode = image.mode
    if mode.partition(";")[0] in _ONE_CHANNEL:
        if mode == "1":  # Pillow's bytes for "true" are not 1
            values = np.asarray(image.convert("L")) != 0
        else:
            values = np.asarray(image)
        if mode == "F":
            values = _whole_numbers(values, path)
        return StoredMask(path, values, palette=_palette(image))
    alpha = np.asarray(image.getchannel("A")) if "A" in image.getbands() else None
    if mode == "LA":
        return StoredMask(path, np.asarray(image.getchannel("L")), alpha=alpha)
    return StoredMask(path, None, np.asarray(image.convert("RGB")), alpha)


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


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    return (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
