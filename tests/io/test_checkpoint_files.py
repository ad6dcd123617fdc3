"""Promise: weights are read as data, and what cannot be read says why and what to do."""

from __future__ import annotations

import json
import logging
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmattn.errors import CheckpointError
from mmattn.io import read_checkpoint, read_trusted_pickle, save_safetensors


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn(3, 4, generator=generator),
        "a.half": torch.randn(5, generator=generator).half(),
        "a.count": torch.tensor(7),
        "a.empty": torch.empty(0, 3),
    }


def assert_same(found: dict, wanted: dict) -> None:
    assert set(found) == set(wanted)
    for key, tensor in wanted.items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key], tensor)


def test_importing_io_is_cheap() -> None:
    code = "import sys, mmattn.io; assert not {'torch', 'numpy', 'mmengine'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_safetensors_round_trip_by_content(tmp_path: Path, weights: dict, name: str) -> None:
    save_safetensors(tmp_path / name, weights)
    found = read_checkpoint(tmp_path / name)
    assert_same(found, weights)


def test_metadata_comes_back_as_meta(tmp_path: Path, weights: dict) -> None:
    file = tmp_path / "w.safetensors"
    meta = {"dataset_meta": json.dumps({"classes": ["sky", "road"]}), "epoch": "3", "note": "[ x"}
    save_safetensors(file, weights, meta)
    found = read_checkpoint(file)
    assert set(found["state_dict"]) == set(weights)
    assert found["meta"] == {
        "dataset_meta": {"classes": ["sky", "road"]},
        "epoch": "3",
        "note": "[ x",
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_come_back_whole(tmp_path: Path, weights: dict, zipped: bool) -> None:
    file = tmp_path / "w.pth"
    content = {"state_dict": weights, "meta": {"epoch": 3, "classes": ("sky", "road")}}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(file)
    assert_same(found["state_dict"], weights)
    assert found["meta"] == content["meta"]


@pytest.mark.parametrize(
    "map_location",
    ["meta", torch.device("meta"), {"cpu": "meta"}],
)
def test_map_location_of_safetensors(tmp_path: Path, weights: dict, map_location) -> None:
    save_safetensors(tmp_path / "w.safetensors", weights)
    found = read_checkpoint(tmp_path / "w.safetensors", map_location)
    assert {tensor.device.type for tensor in found.values()} == {"meta"}
    found = read_checkpoint(tmp_path / "w.safetensors", lambda storage, location: storage)
    assert_same(found, weights)


def test_shared_and_strided_tensors_are_saved(tmp_path: Path) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    state = {"a": base, "tied": base, "turned": base.t(), "grad": base.clone().requires_grad_()}
    save_safetensors(tmp_path / "w.safetensors", state)
    assert_same(read_checkpoint(tmp_path / "w.safetensors"), state)


def test_only_tensors_and_strings_are_saved(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    with pytest.raises(CheckpointError, match="'epoch' is a int"):
        save_safetensors(file, {"epoch": 3})
    with pytest.raises(CheckpointError, match=r"metadata 'epoch'.*json\.dumps"):
        save_safetensors(file, {"a": torch.ones(1)}, {"epoch": 3})
    assert not file.exists()


def test_every_truncation_is_an_error_with_the_name(tmp_path: Path, weights: dict) -> None:
    for name in ("zip.pth", "legacy.pth", "w.safetensors"):
        whole = tmp_path / f"whole-{name}"
        if name == "w.safetensors":
            save_safetensors(whole, weights)
        else:
            torch.save(weights, whole, _use_new_zipfile_serialization=name == "zip.pth")
        content = whole.read_bytes()
        cut = tmp_path / name
        for size in range(0, len(content), max(1, len(content) // 40)):
            cut.write_bytes(content[:size])
            with pytest.raises(CheckpointError, match=name):
                read_checkpoint(cut)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404 Not Found</html>", "not a checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "not a checkpoint"),
        (random.Random(0).randbytes(4096), "not a checkpoint"),
        (b'\x10\x00\x00\x00\x00\x00\x00\x00{"a": 1}        ', "corrupt safetensors"),
    ],
)
def test_foreign_content(tmp_path: Path, content: bytes, cause: str) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"x\.pth: .*({cause})"):
        read_checkpoint(tmp_path / "x.pth")


def test_missing_file_knows_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "epoch_12.pth").touch()
    with pytest.raises(CheckpointError, match=r"does not exist\. Did you mean 'epoch_12\.pth'"):
        read_checkpoint(tmp_path / "epoch_21.pth")
    with pytest.raises(CheckpointError, match="no directory"):
        read_checkpoint(tmp_path / "run" / "epoch_21.pth")
    with pytest.raises(CheckpointError, match=r"is a directory.*epoch_12\.pth"):
        read_checkpoint(tmp_path)


def test_what_is_no_dictionary_is_refused(tmp_path: Path) -> None:
    torch.save(torch.ones(3), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="holds a Tensor"):
        read_checkpoint(tmp_path / "x.pth")


def test_trusted_pickle_records_the_hash(tmp_path: Path, caplog) -> None:
    import hashlib

    file = tmp_path / "model.pth"
    torch.save({"model": torch.nn.Linear(1, 1)}, file)
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_checkpoint(file)
    with caplog.at_level(logging.WARNING):
        content, sha256 = read_trusted_pickle(file)
    assert isinstance(content["model"], torch.nn.Linear)
    assert sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert sha256 in caplog.text
