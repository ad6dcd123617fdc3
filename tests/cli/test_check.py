"""``mmattn check`` tells what is in the data, or what is wrong with it by its exit code."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest


def run(repo: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["check.py", *words])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(repo / "tools/check.py"), run_name="__main__")
    return end.value.code


def test_tables_and_exit_codes(
    repo: Path,
    shapes_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    base = repo / "configs/_base_/datasets/shapes_semantic.py"
    config = tmp_path / "config.py"
    config.write_text(f"_base_ = {str(base)!r}\ndefault_scope = 'mmseg'\n")
    roots = [f"{s}_dataloader.dataset.data_root={shapes_root}" for s in ("train", "val")]
    assert run(repo, monkeypatch, str(config), "--full", "--cfg-options", *roots) == 0
    out = capsys.readouterr().out
    assert "train_dataloader.dataset (ShapesDataset): 8 images; looked at 8 headers" in out
    assert "val_dataloader.dataset" in out and "triangle" in out
    assert out.endswith("\nConfig and data fit; the config has no model.\n")

    assert run(repo, monkeypatch, str(config), "--cfg-options", roots[0]) == 4
    assert "val_dataloader.dataset.data_root='data/shapes'" in capsys.readouterr().err
    assert run(repo, monkeypatch, str(config), "--cfg-options", "train_dataloder.x=1") == 2
    assert "Did you mean 'train_dataloader'?" in capsys.readouterr().err


def test_a_model_that_cannot_be_built_is_an_error(
    repo: Path,
    shapes_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    base = repo / "configs/_base_/datasets/shapes_semantic.py"
    plugin = "dict(cfg=dict(type='mmattn.CBAM', redution=8), position='after_conv2')"
    backbone = f"dict(type='ResNet', depth=18, base_channels=8, plugins=[{plugin}])"
    head = "dict(type='FCNHead', in_channels=64, channels=8, num_classes=10)"
    config = tmp_path / "config.py"
    config.write_text(
        f"_base_ = {str(base)!r}\ndefault_scope = 'mmseg'\n"
        f"model = dict(type='EncoderDecoder', backbone={backbone}, decode_head={head})\n"
    )
    roots = [f"{s}_dataloader.dataset.data_root={shapes_root}" for s in ("train", "val")]
    assert run(repo, monkeypatch, str(config), "--cfg-options", *roots) == 2
    shown = capsys.readouterr()
    assert "Did you mean 'reduction'?" in shown.err
    assert "val_dataloader.dataset" in shown.out, "what was found in the data is told"
    assert " fit." not in shown.out
    config.write_text(config.read_text().replace("redution=8", "reduction=8"))
    assert run(repo, monkeypatch, str(config), "--cfg-options", *roots) == 0
    assert capsys.readouterr().out.endswith("\nConfig, data and model fit.\n")


def test_each_warning_is_shown_once(
    repo: Path,
    shapes_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    """That of a dataset was in its table as well."""
    root = tmp_path / "set"
    shutil.copytree(shapes_root, root)
    file = root / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    content["annotations"] = [one for one in content["annotations"] if one["category_id"] != 1]
    file.write_text(json.dumps(content))
    config = tmp_path / "config.py"
    base = repo / "configs/_base_/datasets/shapes_instance.py"
    config.write_text(
        f"_base_ = {str(base)!r}\ndefault_scope = 'mmdet'\nunused = dict(type='X')\n"
        "train_dataloader = dict(batch_size=64)\n"
    )
    options = [f"train_dataloader.dataset.data_root={root}/"]
    words = ("--splits", "train", "--cfg-options", *options)
    assert run(repo, monkeypatch, str(config), *words) == 0
    shown = capsys.readouterr()
    text = shown.out + shown.err
    for part in ("1 class has no object", "nothing uses unused", "batch_size=64, but"):
        assert text.count(part) == 1, f"{part}: {text}"
    assert "class has no object" in shown.err
