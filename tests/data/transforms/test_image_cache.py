"""Decoded images are kept within their memory, and what a pipeline does to one stays its own."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmattn.data.transforms.load_image import DecodedImages, LoadImageFromFile
from mmattn.errors import ConfigError


def test_an_image_is_decoded_once_and_changes_do_not_reach_the_cache(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((8, 8, 3), 50, np.uint8))
    load = LoadImageFromFile(cache_mib=1)
    first = load({"img_path": str(path)})["img"]
    first[:] = 0
    path.unlink()  # only the cache has it now
    second = load({"img_path": str(path)})["img"]
    assert (second == 50).all()
    second[:] = 0
    assert (load({"img_path": str(path)})["img"] == 50).all()


def test_without_a_cache_every_image_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    load = LoadImageFromFile()
    for value in (50, 90):
        cv2.imwrite(str(path), np.full((8, 8, 3), value, np.uint8))
        assert (load({"img_path": str(path)})["img"] == value).all()


def test_the_image_that_was_not_used_for_the_longest_time_goes_first() -> None:
    images = DecodedImages(250)
    for name in "ab":
        images.put(name, np.zeros(100, np.uint8))
    images.get("a")
    images.put("c", np.zeros(100, np.uint8))
    kept = [name for name in "abc" if images.get(name) is not None]
    assert kept == ["a", "c"] and images.bytes == 200


def test_an_image_larger_than_the_cache_is_not_kept_and_drives_none_out() -> None:
    images = DecodedImages(250)
    images.put("a", np.zeros(100, np.uint8))
    images.put("b", np.zeros(300, np.uint8))
    assert images.get("a") is not None and images.get("b") is None


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="cache_mib=-1"):
        LoadImageFromFile(cache_mib=-1)
