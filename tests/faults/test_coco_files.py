"""Promise: every wrong COCO file ends in its documented verdict, in a folder and in a plain config.

The table is ``tests/support/coco_faults.py``. Nothing is trained and no model is built.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmattn.errors import DataError
from mmattn.preflight.data import DatasetReport, check_dataset
from tests.support.box_folders import write_coco
from tests.support.coco_faults import FAULTS, TRAIN, Verdict

WHERE = "train_dataloader.dataset"
LOADER = {"type": "LoadImageFromFile"}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, bytes]]:
    """Masks -> a sound folder, and the content of its annotation file."""
    found = {}
    for masks in ("", "polygons", "rle"):
        root = write_coco(tmp_path_factory.mktemp("coco") / "d", masks=masks)
        found[masks] = (root, (root / TRAIN).read_bytes())
    return found


def in_a_folder(root: Path, masks: str) -> DatasetReport:
    cfg = {
        "type": "mmattn.FolderDetDataset",
        "data_root": str(root),
        "split": "train",
        "targets": "masks" if masks else "boxes",
        "pipeline": [LOADER],
    }
    return check_dataset(cfg, WHERE)


def in_a_plain_config(root: Path, masks: str) -> DatasetReport:
    cfg = {
        "type": "mmdet.CocoDataset",
        "data_root": str(root),
        "ann_file": TRAIN,
        "data_prefix": {"img": "train2017/"},
        "metainfo": {"classes": ("dot", "cell", "rod")},
        "filter_cfg": {"filter_empty_gt": True, "min_size": 1},
        "pipeline": [
            LOADER,
            {"type": "mmdet.LoadAnnotations", "with_bbox": True, "with_mask": bool(masks)},
        ],
    }
    return check_dataset(cfg, WHERE)


def judge(verdict: Verdict, check, root: Path, masks: str) -> None:
    if verdict.kind == "refused":
        with pytest.raises(DataError, match=verdict.words) as error:
            check(root, masks)
        assert str(error.value).startswith(WHERE)
        return
    report = check(root, masks)
    said = [*(finding.check for finding in report.findings), *report.warnings]
    if verdict.kind == "told":
        assert any(re.search(verdict.words, text) for text in said), said
    else:
        assert not said


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("check", [in_a_folder, in_a_plain_config])
def test_a_wrong_file_gets_its_verdict(name: str, check, sound) -> None:
    fault = FAULTS[name]
    root, content = sound[fault.masks]
    verdict = fault.folder
    if check is in_a_plain_config and fault.plain is not None:
        verdict = fault.plain
    try:
        fault.write(root / TRAIN)
        judge(verdict, check, root, fault.masks)
    finally:
        (root / TRAIN).write_bytes(content)


@pytest.mark.parametrize("masks", ["", "polygons", "rle"])
@pytest.mark.parametrize("check", [in_a_folder, in_a_plain_config])
def test_sound_files_pass_without_a_word(masks: str, check, sound) -> None:
    report = check(sound[masks][0], masks)
    assert report.entries == 4 and not report.warnings


def test_all_sorts_of_faults_of_a_file_are_told_at_once(sound) -> None:
    root, content = sound[""]
    try:
        for name in ("iscrowd 7", "area as text", "no height stated", "name empty"):
            FAULTS[name].write(root / TRAIN)
        with pytest.raises(DataError, match="4 sorts of values are wrong") as error:
            in_a_plain_config(root, "")
        for words in ("iscrowd", "no area", "no size", "is empty"):
            assert words in str(error.value)
    finally:
        (root / TRAIN).write_bytes(content)


def test_the_table_is_as_large_as_it_says() -> None:
    assert len(FAULTS) >= 100
    assert sum(fault.folder.kind != "read" for fault in FAULTS.values()) >= 56
