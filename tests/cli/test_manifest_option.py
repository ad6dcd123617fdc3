"""Promise: with a manifest, no training and no test begins on data that was changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmattn.cli import test as test_command
from mmattn.cli import train as train_command
from mmattn.data.manifest import compare_with_manifest, write_manifest
from mmattn.engine.manifest_check import ManifestCheck
from mmattn.errors import DataError
from mmattn.preflight.data import DatasetReport


@pytest.fixture
def reports(tmp_path: Path) -> list[DatasetReport]:
    (tmp_path / "a.png").write_bytes(b"12345")
    files = (str(tmp_path / "a.png"),)
    report = DatasetReport("train_dataloader.dataset", "D", {}, root=str(tmp_path), files=files)
    write_manifest(str(tmp_path / "m.json"), {report.where: (report.root, report.files)})
    return [report]


def test_names_and_sizes_by_default_and_hashes_where_asked(reports, tmp_path: Path) -> None:
    path = str(tmp_path / "m.json")
    sizes, hashes = ManifestCheck(path), ManifestCheck(path, hashes=True)
    sizes(reports)
    hashes(reports)
    assert sizes.told.startswith("all 1 files have the size, not compared by SHA-256, that")
    assert hashes.told.startswith("all 1 files have size and SHA-256 that")
    (tmp_path / "a.png").write_bytes(b"54321")
    sizes(reports)
    with pytest.raises(DataError, match="has other bytes than it had"):
        hashes(reports)
    (tmp_path / "a.png").write_bytes(b"1")
    with pytest.raises(DataError, match="has 1 bytes, it had 5"):
        sizes(reports)


def test_no_manifest_compares_nothing(reports) -> None:
    check = ManifestCheck(None)
    check(reports)
    assert check.told == ""


def test_another_split_is_refused_with_the_command(reports, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--splits train val test --write-manifest"):
        compare_with_manifest(str(tmp_path / "m.json"), {"test_dataloader.dataset": ("", [])})


@pytest.mark.parametrize("module", [train_command, test_command])
def test_hashes_without_a_manifest_are_refused(module, capsys) -> None:
    words = ["config.py"] if module is train_command else ["config.py", "a.pth"]
    with pytest.raises(SystemExit):
        module.parse_args([*words, "--manifest-hashes"])
    assert "give the manifest with --manifest FILE" in capsys.readouterr().err
    args = module.parse_args([*words, "--manifest", "m.json", "--manifest-hashes"])
    assert (args.manifest, args.manifest_hashes) == ("m.json", True)


@pytest.mark.parametrize("command", ["train", "test"])
def test_commands_end_before_anything_is_built(
    command: str, shapes_root: Path, tmp_path: Path, repo: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("SHAPES_ROOT", str(shapes_root))
    monkeypatch.chdir(tmp_path)
    write_manifest(
        "m.json",
        {f"{split}_dataloader.dataset": (str(shapes_root), []) for split in ("train", "val")},
    )
    config = str(repo / "tests/support/configs/tiny_fcn.py")
    if command == "train":
        code = train_command.main([config, "--manifest", "m.json", "--work-dir", "run"])
    else:
        Path("a.pth").touch()
        code = test_command.main([config, "a.pth", "--manifest", "m.json", "--work-dir", "run"])
    assert code == 4
    said = capsys.readouterr().err
    expected = "is not in the manifest" if command == "train" else "has no test_dataloader.dataset"
    assert expected in said.strip()
    assert not Path("run").exists()
