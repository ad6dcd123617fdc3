"""A validation of one image, or without a class, is told before the training that relies on it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmattn.config import load_config
from mmattn.preflight import preflight
from mmattn.preflight.data import DatasetReport, classes_without_pixels, few_images

PIPELINE = "[dict(type='mmattn.LoadImageFromFile'), dict(type='mmattn.LoadFolderMask')]"


@pytest.mark.parametrize(("train", "val"), [(18, 1), (95, 5), (200, 9)])
def test_few_images_to_validate_are_told(train: int, val: int) -> None:
    assert f"only {val} of {train + val} images " in str(few_images(train, val))


@pytest.mark.parametrize(("train", "val"), [(17, 2), (4, 1), (5000, 10), (0, 1)])
def test_enough_images_to_validate_are_not(train: int, val: int) -> None:
    assert few_images(train, val) is None


def test_a_class_is_missing_only_where_all_masks_were_looked_at() -> None:
    report = DatasetReport("val_dataloader.dataset", "X", {}, entries=3, unit="pixels")
    report.counts = {"road": 7, "Gebäude": 0}
    report.looked_at = {"masks": 2}
    assert classes_without_pixels(report, "val") is None
    report.looked_at = {"masks": 3}
    told = str(classes_without_pixels(report, "val"))
    assert told == "no mask has a pixel of 'Gebäude': it cannot be measured here"
    report.counts = {str(number): 0 for number in range(8)}
    assert "'4' and 3 more: they cannot be learnt" in str(classes_without_pixels(report, "train"))


def test_one_object_is_counted_in_the_singular() -> None:
    report = DatasetReport("val_dataloader.dataset", "X", {}, entries=3, unit="instances")
    report.counts, report.images_with = {"cat": 12, "dog": 1}, {"cat": 3, "dog": 1}
    cat, dog = report.table().splitlines()[-2:]
    assert "12 instances  " in cat and cat.endswith("images")
    assert " 1 instance " in dog and "1 instances" not in dog and dog.endswith("1 image")
    assert cat.index("%") == dog.index("%"), "columns stay below each other"


def test_both_are_told_by_the_check_of_a_folder(tmp_path: Path, caplog) -> None:
    for index in range(20):
        for folder, high in (("images", 256), ("masks", 2 if index else 3)):
            (tmp_path / folder).mkdir(exist_ok=True)
            noise = np.random.default_rng(index).integers(0, high, (20, 24), np.uint8)
            cv2.imwrite(str(tmp_path / folder / f"{index}.png"), noise)
    (tmp_path / "classes.json").write_text('["a", "b", "rare"]')
    (tmp_path / "c.py").write_text(
        "default_scope = 'mmseg'\n"
        + "".join(
            f"{split}_dataloader = dict(batch_size=1, dataset=dict(type='mmattn.FolderSegDataset', "
            f"data_root={str(tmp_path)!r}, split={split!r}, val_fraction=0.001, "
            f"pipeline={PIPELINE}))\n"
            for split in ("train", "val")
        )
    )
    preflight(load_config(tmp_path / "c.py"))
    assert "val_dataloader.dataset: only 1 of 20 images is for validation" in caplog.text
    assert "val_dataloader.dataset: no mask has a pixel of 'rare'" in caplog.text
