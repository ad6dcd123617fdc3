"""Masks in other forms made masks of label numbers."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image


def png(pixels: np.ndarray) -> bytes:
    """Return a PNG of an image (H, W) or (H, W, 3), uint8; masks keep their numbers."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def colours_to_labels(
    mask: np.ndarray, labels: Mapping[tuple[int, int, int], int], other: int
) -> tuple[np.ndarray, int]:
    """Turn colours into numbers.

    Args:
        mask: (H, W, 3) or (H, W, 4), RGB.
        labels: Colour -> number.
        other: Number of the pixels with other colours.

    Returns:
        (H, W), uint8, and how many pixels have other colours.
    """
    codes = mask[..., :3].astype(np.int64) @ np.array([65536, 256, 1])
    known = {(r * 256 + g) * 256 + b: label for (r, g, b), label in labels.items()}
    values, places = np.unique(codes, return_inverse=True)
    table = np.array([known.get(value, other) for value in values.tolist()], np.uint8)
    strange = ~np.isin(codes, list(known))
    return table[places.reshape(codes.shape)], int(strange.sum())


def renumbered(mask: np.ndarray, table: Mapping[int, int], other: int) -> np.ndarray:
    """Return a mask (H, W), uint8, with other numbers; those not in ``table`` become ``other``."""
    lut = np.full(256, other, np.uint8)
    for before, after in table.items():
        lut[before] = after
    return lut[mask]
