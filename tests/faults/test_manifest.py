"""Promise: a manifest finds every changed file, also those that decode without an error."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmattn.cli.main import main
from mmattn.data.manifest import compare_with_manifest, read_manifest, write_manifest
from mmattn.errors import DataError
from tests.support.box_folders import write_coco

COUNT = 200


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """JPEGs of blurred noise."""
    root = tmp_path_factory.mktemp("jpegs")
    files = []
    for index in range(COUNT):
        noise = np.random.default_rng(index).integers(0, 256, (12, 16, 3), np.uint8)
        path = root / f"{index}.jpg"
        cv2.imwrite(str(path), cv2.resize(noise, (64, 48), interpolation=cv2.INTER_CUBIC))
        files.append(str(path))
    return root, files


def test_every_mutated_jpeg_is_found(photographs: tuple[Path, list[str]], tmp_path: Path) -> None:
    root, files = photographs
    manifest = str(tmp_path / "files.json")
    datasets = {"train": (str(root), files)}
    write_manifest(manifest, datasets)
    assert compare_with_manifest(manifest, datasets) == COUNT
    rng, silent = random.Random(0), 0
    for file in files:
        content = Path(file).read_bytes()
        changed = bytearray(content)
        place = rng.randrange(200, len(content) - 2)  # in the compressed data, mostly
        changed[place] ^= 1 << rng.randrange(8)
        Path(file).write_bytes(changed)
        before, after = (
            cv2.imdecode(np.frombuffer(bytes(one), np.uint8), cv2.IMREAD_COLOR)
            for one in (content, changed)
        )
        silent += after is not None and after.shape == before.shape and (after != before).any()
    assert silent > COUNT / 4  # the decoder says nothing of these
    with pytest.raises(DataError, match=rf"{COUNT} files differ .*\n.*has other bytes than it had"):
        compare_with_manifest(manifest, datasets)


def test_missing_new_and_cut_files_are_told_together(tmp_path: Path) -> None:
    root = tmp_path / "d"
    root.mkdir()
    for name in "abc":
        (root / name).write_text(name * 10)
    files = [str(root / name) for name in "abc"]
    manifest = str(tmp_path / "files.json")
    write_manifest(manifest, {"train": (str(root), files)})
    (root / "a").write_text("a")
    (root / "new").write_text("x")
    present = [str(root / name) for name in ("a", "c", "new")]
    with pytest.raises(DataError) as error:
        compare_with_manifest(manifest, {"train": (str(root), present)})
    text = str(error.value)
    assert "3 files differ" in text
    for words in ("b is missing", "new is not in the manifest", "a has 1 bytes, it had 10"):
        assert words in text


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"version": 9, "hash": "sha256"}', "null"])
def test_what_is_no_manifest(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=r"x\.json is not"):
        read_manifest(str(tmp_path / "x.json"))


def test_a_config_of_another_dataset(tmp_path: Path) -> None:
    write_manifest(str(tmp_path / "x.json"), {"train": (str(tmp_path), [])})
    with pytest.raises(DataError, match="has no val, but train"):
        compare_with_manifest(str(tmp_path / "x.json"), {"val": (str(tmp_path), [])})


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_coco(tmp_path / "d")
    config = tmp_path / "config.py"
    dataset = "dict(type='mmattn.FolderDetDataset', data_root={0!r}, split={1!r}, pipeline=[{2}])"
    loader = "dict(type='LoadImageFromFile'), dict(type='mmdet.PackDetInputs')"
    lines = ["default_scope = 'mmdet'"]
    for split in ("train", "val"):
        made = dataset.format(str(root), split, loader)
        lines.append(f"{split}_dataloader = dict(batch_size=1, dataset={made})")
    config.write_text("\n".join(lines))
    manifest = str(tmp_path / "files.json")
    assert main(["check", str(config), "--write-manifest", manifest]) == 0
    assert "size and SHA-256 of 8 files" in capsys.readouterr().out  # 6 images, 2 annotation files
    names = json.loads(Path(manifest).read_text())["datasets"]["train_dataloader.dataset"]
    assert "annotations/instances_train2017.json" in names
    moved = tmp_path / "moved"
    shutil.move(root, moved)
    options = ["--cfg-options", f"data_root={moved}"]
    assert main(["check", str(config), "--manifest", manifest, *options]) == 0
    assert "All 8 files are as" in capsys.readouterr().out
    image = next(moved.rglob("001.png"))
    pixels = cv2.imread(str(image))
    pixels[0, 0] ^= 1
    cv2.imwrite(str(image), pixels)
    assert main(["check", str(config), "--manifest", manifest, *options]) == 4
    assert "001.png has" in capsys.readouterr().err
