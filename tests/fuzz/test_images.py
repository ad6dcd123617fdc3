"""Properties of the image reader: every mode and size comes back exactly, anything else is refused.

Damaged files are in ``test_damaged_files.py``.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmattn.errors import DataError
from mmattn.images import decode_image, read_header
from mmattn.images.files import evenly, is_image_file
from mmattn.images.reader import bits_in_use, check_bit_depth, turn
from mmattn.palette import complete_palette
from tests.support.fuzzing import scalars, seeds, sides, texts

#: Format -> options under which it stores 8-bit RGB without a loss.
LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True, "exact": True}}
MODES = ("1", "L", "P", "RGB", "RGBA", "LA")


def rgb(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def stored(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@given(seeds, sides, sides)
def test_every_lossless_format_gives_the_same_pixels(seed: int, height: int, width: int) -> None:
    pixels = rgb(seed, height, width)
    for form, options in LOSSLESS.items():
        content = stored(Image.fromarray(pixels), form, **options)
        np.testing.assert_array_equal(decode_image(content, form)[..., ::-1], pixels, form)


@given(seeds, sides, sides, st.sampled_from(MODES), st.sampled_from(["PNG", "TIFF"]))
def test_every_mode_becomes_three_bands(seed, height, width, mode: str, form: str) -> None:
    image = Image.fromarray(rgb(seed, height, width)).convert(mode)
    pixels = decode_image(stored(image, form), "x")
    assert pixels.shape == (height, width, 3) and pixels.dtype == np.uint8
    expected = np.asarray(image.convert("RGB"))[..., ::-1]
    if mode in ("1", "L", "P", "RGB"):
        np.testing.assert_array_equal(pixels, expected)
    else:  # the alpha is dropped, not multiplied
        np.testing.assert_array_equal(pixels, expected)


@given(seeds, sides, sides, st.sampled_from(["RGB", "L", "CMYK"]), st.integers(30, 100))
def test_a_jpeg_of_any_size_has_its_size(seed, height, width, mode: str, quality: int) -> None:
    content = stored(Image.fromarray(rgb(seed, height, width)).convert(mode), "JPEG",
                     quality=quality)  # fmt: skip
    assert decode_image(content, "x").shape == (height, width, 3)
    assert read_header(content, "x").size == (height, width)


@given(seeds, sides, sides, st.integers(1, 8), st.sampled_from(["PNG", "TIFF", "WEBP"]))
def test_the_header_says_the_size_of_the_turned_image(seed, height, width, orientation, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = stored(Image.fromarray(rgb(seed, height, width)), form, exif=exif, **LOSSLESS[form])
    pixels = decode_image(content, "x")
    assert read_header(content, "x").size == pixels.shape[:2]
    np.testing.assert_array_equal(pixels[..., ::-1], turn(rgb(seed, height, width), orientation))


@given(seeds, sides, sides, st.integers(1, 8), st.booleans())
def test_turning_loses_nothing_and_its_inverse_undoes_it(seed, height, width, orientation, grey):
    pixels = rgb(seed, height, width)
    pixels = pixels[..., 0] if grey else pixels
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    np.testing.assert_array_equal(turn(turn(pixels, orientation), inverse), pixels)
    assert sorted(turn(pixels, orientation).ravel()) == sorted(pixels.ravel())


@given(seeds, sides, sides, st.integers(9, 16), st.sampled_from([1, 3]))
def test_the_upper_eight_of_the_stated_bits_are_kept(seed, height, width, bits, bands) -> None:
    deep = np.random.default_rng(seed).integers(0, 2**bits, (height, width, bands), np.uint16)
    deep[0, 0] = 2**bits - 1
    done, content = cv2.imencode(".png", deep if bands == 3 else deep[..., 0])
    assert done
    pixels = decode_image(content.tobytes(), "x", bit_depth=bits)
    np.testing.assert_array_equal(pixels, np.repeat(deep >> (bits - 8), 3 // bands, axis=2))
    with pytest.raises(DataError, match=f"bit_depth={bits}"):
        decode_image(content.tobytes(), "x")
    if bits > 9:
        with pytest.raises(DataError, match=f"Set bit_depth={bits}"):
            decode_image(content.tobytes(), "x", bit_depth=bits - 1)


@given(
    st.binary(max_size=200),
    st.sampled_from(
        [
            b"",
            b"\x89PNG\r\n\x1a\n",
            b"II*\0",
            b"GIF89a",
            b"\xff\xd8\xff\xe0",
            b"RIFF\0\0\0\0WEBP",
            b"BM",
        ]
    ),
)
def test_bytes_that_are_no_image_are_refused_by_name(content: bytes, start: bytes) -> None:
    with pytest.raises(DataError, match="folder/x"):
        decode_image(start + content, "folder/x")


@given(st.lists(st.integers(0, 65535), max_size=20))
def test_bits_in_use_hold_the_largest_value(values: list[int]) -> None:
    bits = bits_in_use(np.array(values, np.uint16))
    assert 8 <= bits <= 16 and all(value < 2**bits for value in values)
    assert bits == 8 or max(values) >= 2 ** (bits - 1)


@given(scalars)
def test_only_whole_numbers_of_bits_pass(value) -> None:
    allowed = value is None or (type(value) is int and 8 <= value <= 16)
    if allowed:
        check_bit_depth(value)
    else:
        with pytest.raises(ValueError, match="bit_depth="):
            check_bit_depth(value)


@given(st.integers(0, 500), st.one_of(st.none(), st.integers(0, 600)))
def test_a_sample_is_spread_over_the_whole(count: int, limit: int | None) -> None:
    places = evenly(count, limit)
    assert len(places) == (count if limit is None else min(count, limit))
    assert len(set(places.tolist())) == len(places) and (np.diff(places) > 0).all()
    assert all(0 <= place < count for place in places)
    if len(places) > 1:
        assert places[0] == 0 and places[-1] == count - 1


@given(texts, st.sampled_from([".png", ".JPG", ".tif", ".txt", ""]))
def test_images_are_known_by_their_ending(stem: str, ending: str) -> None:
    expected = not (stem + ending).startswith(".") and ending.lower() in (".png", ".jpg", ".tif")
    name = stem + ending
    assert is_image_file(name) == expected or name.lower().endswith((".png", ".jpg"))


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), max_size=30), st.integers(0, 300))
def test_a_palette_is_completed_and_what_is_given_stays(given_colours, count: int) -> None:
    palette = complete_palette(given_colours, count)
    assert len(palette) == count and palette[: len(given_colours)] == given_colours[:count]
    assert all(0 <= channel <= 255 for colour in palette for channel in colour)
    assert palette == complete_palette(given_colours, count)
