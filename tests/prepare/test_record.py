"""Promise: ``dataset.json`` is named by the checks before a training, and in manifests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmattn.data.manifest import read_manifest, write_manifest
from mmattn.data.record import read_record
from mmattn.errors import DataError
from mmattn.prepare import Wishes, parse_subset, prepare


@pytest.fixture
def root(archives: Callable, tmp_path: Path) -> Path:
    wishes = Wishes((archives("camvid"),), parse_subset("50%"), accept_terms=True)
    prepare("camvid", tmp_path / "data", wishes, say=lambda line: None)
    return tmp_path / "data"


def test_the_check_before_a_training_names_it(root: Path) -> None:
    from mmattn.preflight.data.dataset import check_dataset

    dataset = {"type": "mmattn.CamVidDataset", "data_root": str(root), "pipeline": []}
    report = check_dataset(dataset, "train_dataloader.dataset")
    record = read_record(root)
    assert record is not None and record.subset == "50%"
    assert f"dataset.json: {record.sentence()}" in report.notes
    assert "CamVid, 480 x 360, subset 50%, prepared" in report.table()
    assert "train 2, val 1, test 1 images" in report.table()


def test_manifest_and_run_lock_have_it(root: Path, tmp_path: Path) -> None:
    from mmattn.compare.lock import data_fingerprint

    images = [str(path) for path in (root / "images").rglob("*.png")]
    write_manifest(str(tmp_path / "data.json"), {"train": (str(root), images), "val": ("", [])})
    manifest = read_manifest(str(tmp_path / "data.json"))
    record = read_record(root)
    assert record is not None and manifest.prepared == {"train": record.summary()}
    locked = data_fingerprint(tmp_path)
    assert locked["train"]["prepared"]["name"] == "camvid" and "prepared" not in locked["val"]


def test_files_of_that_name(root: Path) -> None:
    """Somebody else's is none of ours; a damaged one, and one of another version, are errors."""
    path = root / "dataset.json"
    content = json.loads(path.read_text())
    path.write_text('{"title": "mine"}')
    assert read_record(root) is None
    path.write_text(json.dumps({**content, "format_version": 99}))
    with pytest.raises(DataError, match="version 99"):
        read_record(root)
    del content["splits"]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="splits"):
        read_record(root)
