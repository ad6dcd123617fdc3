"""Promise: one reader makes 8-bit RGB of every usual image, turned as EXIF says, or refuses it."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile as MMCVLoadImageFromFile
from PIL import Image, ImageOps, TiffImagePlugin

from mmattn.data.transforms.load_image import LoadImageFromFile
from mmattn.errors import ConfigError, DataError
from mmattn.images import decode_image, list_images, read_header, read_image, reader
from mmattn.images.header import DEFAULT_LIMIT, LIMIT_VARIABLE
from mmattn.images.reader import turn

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def write_tiff(path: Path, pixels: np.ndarray, photometric: int = 1, sample: int = 1) -> Path:
    """An uncompressed TIFF of any number of bands, as scanners and satellites write them."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    height, width, bands = pixels.shape
    data = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<")).tobytes()
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[256], tags[257], tags[259], tags[262] = width, height, 1, photometric
    tags[258] = (pixels.dtype.itemsize * 8,) * bands
    # Pillow counts the first of these from the end of the directory.
    tags[273], tags[277], tags[278], tags[279] = 0, bands, height, len(data)
    tags[284], tags[339] = 1, (sample,) * bands
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + tags.tobytes(8) + data)
    return path


def write_bits(path: Path, height: int, width: int) -> Path:
    """A black PNG of one bit, however large, in a few bytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    row, packer = b"\0" * (1 + (width + 7) // 8), zlib.compressobj(1)
    rows = b"".join(packer.compress(row) for _ in range(min(height, 20000))) + packer.flush()
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )
    return path


def refusal(path: Path, **options) -> str:
    with pytest.raises(DataError) as caught:
        read_image(path, **options)
    assert str(path) in str(caught.value)
    return str(caught.value)


# --- the same image for all --------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jfif", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_usual_images_are_those_of_mmcv(suffix: str, mode: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    kind = {".jfif": "JPEG", ".jpg": "JPEG", ".tif": "TIFF"}.get(suffix, suffix[1:].upper())
    Image.fromarray(COLOURS).convert(mode).save(path, kind)
    ours = LoadImageFromFile()({"img_path": str(path)})
    theirs = MMCVLoadImageFromFile()({"img_path": str(path)})
    np.testing.assert_array_equal(ours["img"], theirs["img"])
    assert ours["ori_shape"] == theirs["ori_shape"] == (6, 9)
    np.testing.assert_array_equal(read_image(path), ours["img"][..., ::-1])


def test_a_gif_is_read(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).convert("P").save(tmp_path / "a.gif")
    expected = np.asarray(Image.open(tmp_path / "a.gif").convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif"), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_every_orientation_is_applied_in_every_format(
    suffix: str, orientation: int, tmp_path: Path
) -> None:
    exif, path = Image.Exif(), tmp_path / f"a{suffix}"
    exif[0x0112] = orientation
    blocks = np.kron(COLOURS[:2, :3, :1] // 128 * 255, np.ones((16, 16, 3))).astype(np.uint8)
    Image.fromarray(blocks).save(path, exif=exif, **({"lossless": True} if "w" in suffix else {}))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert read_header(path).size == expected.shape[:2]
    np.testing.assert_allclose(read_image(path).astype(int), expected.astype(int), atol=6)
    np.testing.assert_array_equal(turn(blocks, orientation) // 128, expected // 128)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (1, 3000)])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".gif"])
def test_images_of_one_row_or_column_load(
    size: tuple[int, int], suffix: str, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / f"a{suffix}")
    assert read_image(tmp_path / f"a{suffix}").shape == (*size, 3)


# --- more than 8 bits --------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 15, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bands", [1, 3])
def test_a_stated_bit_depth_scales(bits: int, suffix: str, bands: int, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    deep = COLOURS[..., :bands].astype(np.uint16) << (bits - 8) | 1
    cv2.imwrite(str(path), deep.squeeze())
    expected = np.broadcast_to(COLOURS[..., :bands], COLOURS.shape)
    np.testing.assert_array_equal(read_image(path, bit_depth=bits)[..., ::-1], expected)
    loaded = LoadImageFromFile(bit_depth=bits)({"img_path": str(path)})
    np.testing.assert_array_equal(loaded["img"], expected)
    loaded = LoadImageFromFile()({"img_path": str(path), "bit_depth": bits})
    np.testing.assert_array_equal(loaded["img"], expected)


def test_without_a_bit_depth_deep_images_are_refused_with_the_one_to_set(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 5), 3000, np.uint16))
    assert "bit_depth=12 (4095 is white then)" in refusal(tmp_path / "a.png")
    assert "up to 3000: bit_depth=10 goes to 1023" in refusal(tmp_path / "a.png", bit_depth=10)
    for wrong in (7, 17, 12.0, True, "12"):
        with pytest.raises(ConfigError, match="8 to 16"):
            LoadImageFromFile(bit_depth=wrong)


def test_images_of_8_bits_stay_as_they_are_beside_deep_ones(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", bit_depth=12), COLOURS)


# --- bands -------------------------------------------------------------------------------------


def test_a_fourth_band_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    """OpenCV multiplies by it where a TIFF calls it alpha, and alpha may be anything."""
    four = np.dstack([COLOURS, COLOURS[..., :1] // 9])
    Image.fromarray(four).save(tmp_path / "a.png")
    Image.fromarray(four).save(tmp_path / "a.tif")
    write_tiff(tmp_path / "b.tif", four, photometric=2)
    for name in ("a.png", "a.tif", "b.tif"):
        assert read_header(tmp_path / name).bands == 4
        np.testing.assert_array_equal(read_image(tmp_path / name), COLOURS)


@pytest.mark.parametrize(
    ("pixels", "sample", "said"),
    [
        (np.zeros((4, 5), np.float32), 3, "1 band of 32-bit floating-point numbers"),
        (np.zeros((4, 5, 3), np.float64), 3, "3 bands of 64-bit floating-point numbers"),
        (np.zeros((4, 5), np.int32), 2, "32-bit signed"),
        (np.zeros((4, 5), np.uint32), 1, "32-bit unsigned"),
        (np.zeros((4, 5, 5), np.uint8), 1, "has 5 bands"),
        (np.zeros((4, 5, 13), np.uint16), 1, "has 13 bands"),
    ],
    ids=["float32", "float64", "int32", "uint32", "5 bands", "13 bands"],
)
def test_what_has_no_range_or_no_colours_is_refused(
    pixels: np.ndarray, sample: int, said: str, tmp_path: Path
) -> None:
    assert said in refusal(write_tiff(tmp_path / "a.tif", pixels, sample=sample))


# --- files that are none -----------------------------------------------------------------------


def test_the_limit_of_pixels_is_told_from_the_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_bits(tmp_path / "a.png", 50000, 50000)
    said = refusal(path)
    assert "50000 x 50000" in said and str(DEFAULT_LIMIT) in said
    assert f"{LIMIT_VARIABLE}=2500000000" in said
    small = write_bits(tmp_path / "b.png", 20, 30)
    monkeypatch.setenv(LIMIT_VARIABLE, "599")
    assert "20 x 30" in refusal(small)
    monkeypatch.setenv(LIMIT_VARIABLE, "600")
    assert read_image(small).shape == (20, 30, 3)
    monkeypatch.setenv(LIMIT_VARIABLE, "many")
    with pytest.raises(ConfigError, match=LIMIT_VARIABLE):
        read_image(small)


@pytest.mark.parametrize(
    "content", [b"", b"<html>404</html>", b"II*\0", b"II*\0\x08\0\0\0", b"\x89PNG"]
)
def test_what_is_no_image_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    refusal(tmp_path / "a.png")
    assert LoadImageFromFile(ignore_empty=True)({"img_path": str(tmp_path / "a.png")}) is None
    with pytest.raises(DataError, match=r"b\.png: no such image"):
        read_image(tmp_path / "b.png")


def test_nothing_is_decoded_without_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV would decode as many pixels as a damaged header claims, whatever the limit is."""
    monkeypatch.setattr(reader, "_opencv", lambda *given: pytest.fail("it was decoded"))
    file = io.BytesIO()
    Image.fromarray(COLOURS).save(file, "PNG")
    content = bytearray(file.getvalue())
    content[16:18] = b"\x7f\xff"  # the width, whose checksum is wrong now
    with pytest.raises(DataError, match=r"a\.png: not an image"):
        decode_image(bytes(content), "a.png")


def test_pillow_keeps_its_own_limit(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    read_image(tmp_path / "a.png")
    with pytest.raises(DataError):
        decode_image(b"none", "a.png")
    assert before == Image.MAX_IMAGE_PIXELS


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jfif", "._a.png", ".b.jpg", "c.txt"):
        (tmp_path / name).touch()
    (tmp_path / "d.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.jfif", "b.PNG"]
