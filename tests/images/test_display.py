"""Promise: an image that is only to be looked at is shown, whatever its depth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmattn.errors import DataError
from mmattn.images import read_for_display, read_image

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def write(path: Path, rgb: np.ndarray) -> Path:
    pixels = rgb if rgb.ndim == 2 else np.ascontiguousarray(rgb[..., ::-1])
    assert cv2.imwrite(str(path), pixels)
    return path


def test_an_image_that_is_read_is_shown_as_it_is_read(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.png", COLOURS)
    deep = write(tmp_path / "b.png", COLOURS.astype(np.uint16) << 4)
    assert np.array_equal(read_for_display(plain), read_image(plain))
    assert np.array_equal(read_for_display(deep, bit_depth=16), read_image(deep, bit_depth=16))


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_without_a_stated_depth_the_largest_value_says_it(tmp_path: Path, bits: int) -> None:
    file = write(tmp_path / "a.png", COLOURS.astype(np.uint16) << (bits - 8))
    assert COLOURS.max() >= 128, "of all bits"
    with pytest.raises(DataError, match="bit_depth"):
        read_image(file)
    assert np.array_equal(read_for_display(file), COLOURS)
    assert np.array_equal(read_for_display(file, bit_depth=9), COLOURS), "more than is stated"


@pytest.mark.parametrize(
    ("lowest", "highest", "black", "white"),
    [(0.0, 1.0, 0, 255), (0.0, 255.0, 0, 255), (0.0, 9000.0, 0, 255), (0.2, 0.6, 51, 153),
     (-1.0, 1.0, 0, 255)],
)  # fmt: skip
def test_floating_point_values_are_scaled(tmp_path, lowest, highest, black, white) -> None:
    values = np.linspace(lowest, highest, 54, dtype=np.float32).reshape(6, 9)
    shown = read_for_display(write(tmp_path / "a.tiff", values))
    assert shown.shape == (6, 9, 3)
    assert shown.dtype == np.uint8
    assert (shown[0, 0] == black).all()
    assert (shown[-1, -1] == white).all()
    assert (np.diff(shown[..., 0].ravel().astype(int)) >= 0).all()


def test_values_that_are_no_numbers_are_black(tmp_path: Path) -> None:
    values = np.full((4, 5), 0.5, np.float32)
    values[0, 0], values[0, 1] = np.nan, np.inf
    shown = read_for_display(write(tmp_path / "a.tiff", values))
    assert (shown[0, :2] == 0).all()
    assert (shown[1:] == 128).all()


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    for name in ("a.png", "gone.png"):
        with pytest.raises(DataError, match=name):
            read_for_display(tmp_path / name)
