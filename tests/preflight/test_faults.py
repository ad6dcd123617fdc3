"""One run of the check names every faulty file that it looked at, not the first alone."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmattn.data.files import why_missing
from mmattn.errors import ConfigError, DataError
from mmattn.images import read_image
from mmattn.preflight.data import check_dataset
from mmattn.preflight.data.faults import FaultyFiles

STEPS = [{"type": "mmattn.LoadImageFromFile"}, {"type": "mmattn.LoadFolderMask"}]


@pytest.mark.parametrize("full", [True, False])
def test_images_and_masks_of_all_sorts_are_told_at_once(tmp_path: Path, full: bool) -> None:
    for index in range(9):
        for folder, high in (("images/train", 256), ("masks/train", 2)):
            (tmp_path / folder).mkdir(exist_ok=True, parents=True)
            noise = np.random.default_rng(index).integers(0, high, (20, 24), np.uint8)
            cv2.imwrite(str(tmp_path / folder / f"{index}.png"), noise)
    image = tmp_path / "images/train/3.png"
    image.write_bytes(image.read_bytes()[:100])
    cv2.imwrite(str(tmp_path / "images/train/5.png"), np.full((20, 24), 4000, np.uint16))
    cv2.imwrite(str(tmp_path / "masks/train/7.png"), np.zeros((10, 12), np.uint8))
    cfg = {
        "type": "mmattn.FolderSegDataset",
        "data_root": str(tmp_path),
        "data_prefix": {"img_path": "images/train", "seg_map_path": "masks/train"},
        "pipeline": STEPS,
    }
    with pytest.raises(DataError) as told:
        check_dataset(cfg, "here", full=full)
    first, count, *others = str(told.value).splitlines()
    assert first.startswith("here: the image") and "3.png" in first and "take it out" in first
    assert count == "2 more files are faulty:"
    assert "5.png holds 16-bit values" in others[0] and "7.png is 10 x 12" in others[1]
    assert len(others) == 2


def test_many_are_counted_and_twins_told_once() -> None:
    faults = FaultyFiles("here")
    faults.refuse()
    for index in [*range(25), 3, 4]:
        with faults.collected():
            raise DataError(f"here: {index}.png is bad. Mend it. Soon")
    with pytest.raises(DataError) as told:
        faults.refuse()
    lines = str(told.value).splitlines()
    assert lines[:3] == ["here: 0.png is bad. Mend it. Soon", "24 more files are faulty:",
                         "  1.png is bad"]  # fmt: skip
    assert lines[-1] == "  and 4 more" and len(lines) == 23


def test_other_errors_pass() -> None:
    with pytest.raises(ConfigError), FaultyFiles("here").collected():
        raise ConfigError("of the config")


def test_a_damaged_tiff_is_told_once_and_by_us_alone(tmp_path: Path, capfd) -> None:
    """OpenCV and Pillow printed three lines about directories and EXIF above the message."""
    path = tmp_path / "a.tif"
    noise = np.random.default_rng(0).integers(0, 256, (60, 70, 3), np.uint8)
    Image.fromarray(noise).save(path, compression="tiff_lzw")
    path.write_bytes(path.read_bytes()[:4000])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((DataError, OSError)):
            read_image(path)
    shown = capfd.readouterr()
    assert not shown.out and not shown.err


def test_an_empty_line_of_a_list_and_another_case_are_named(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.JPG").write_bytes(b"")
    assert "delete the empty line" in why_missing(str(tmp_path / ".xml"))
    told = why_missing(str(tmp_path / "IMG_1.jpg"))
    assert "'IMG_1.JPG' exists: upper and lower case differ. Rename the files" in told


@pytest.mark.parametrize(
    ("lines", "image", "said"),
    [
        ("1\n\n", "1.jpg", r"asks for .*Annotations/\.xml, .*delete the empty line"),
        ("1\n", "1.JPG", r"asks for .*1\.jpg, .*'1\.JPG' exists: upper and lower case"),
    ],
)
def test_lists_of_voc_say_what_to_mend(tmp_path: Path, lines: str, image: str, said: str) -> None:
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ImageSets/Main/train.txt").write_text(lines)
    Image.new("RGB", (20, 20)).save(tmp_path / "JPEGImages" / image, "JPEG")
    # Without <size> mmdet opens the image.
    (tmp_path / "Annotations/1.xml").write_text("<annotation></annotation>")
    cfg = {
        "type": "mmdet.VOCDataset",
        "data_root": str(tmp_path),
        "ann_file": "ImageSets/Main/train.txt",
        "data_prefix": {"sub_data_root": ""},
        "metainfo": {"classes": ("a",)},
        "pipeline": [],
    }
    with pytest.raises(DataError, match=said):
        check_dataset(cfg, "here")
