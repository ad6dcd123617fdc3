"""A file that no check saw is named when it fails to load, also from a worker process."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mmengine.registry import DATASETS, init_default_scope
from torch.utils.data import DataLoader

from mmattn.data.loading_errors import name_files_in_errors
from mmattn.errors import DataError


@pytest.fixture
def root(shapes_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shapes_root, tmp_path / "set"))


def build(root: Path, scope: str):
    init_default_scope(scope)
    load = [{"type": f"{scope}.LoadAnnotations"}]
    if scope == "mmdet":
        load = [{"type": "mmdet.LoadAnnotations", "with_seg": True, "with_bbox": False}]
    prefix = {"img_path": "images/train", "seg_map_path": "annotations/train"}
    return DATASETS.build(
        {
            "type": f"{scope}.BaseSegDataset",
            "data_root": str(root),
            "data_prefix": prefix,
            "metainfo": {"classes": ("a", "b")},
            "pipeline": [{"type": "LoadImageFromFile"}, *load],
        }
    )


@pytest.mark.parametrize("scope", ["mmseg", "mmdet"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_mask_is_named(root: Path, scope: str, workers: int):
    dataset = build(root, scope)
    name_files_in_errors()
    path = root / "annotations/train/000000.png"
    path.write_bytes(path.read_bytes()[:40])
    loader = DataLoader(dataset, batch_size=None, num_workers=workers)
    with pytest.raises(DataError, match=str(path)) as caught:
        next(iter(loader))
    assert "mmattn check --full" in str(caught.value)


def test_a_damaged_image_is_named_and_not_its_mask(root: Path):
    dataset = build(root, "mmseg")
    name_files_in_errors()
    path = root / "images/train/000000.jpg"
    path.write_bytes(b"")
    with pytest.raises(DataError, match=str(path)) as caught:
        dataset[0]
    assert "annotations" not in str(caught.value)


def test_sound_files_load_as_before(root: Path):
    dataset = build(root, "mmseg")
    name_files_in_errors()
    name_files_in_errors()
    assert dataset[0]["gt_seg_map"].shape == dataset[0]["img"].shape[:2] == (96, 128)
