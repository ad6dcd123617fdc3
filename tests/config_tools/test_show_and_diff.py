"""What is shown loads again as the same config; differences are told once, with their key."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmattn.cli.config import main
from mmattn.config import load_config
from mmattn.config_tools.diff import differences

RETINANET = "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"
FCN = "mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py"


@pytest.mark.parametrize("form", ["py", "json", "yaml"])
def test_what_is_shown_loads_again(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", FCN, "--format", form]) == 0
    file = tmp_path / f"shown.{form}"
    file.write_text(capsys.readouterr().out)
    again, first = load_config(file).to_dict(), load_config(FCN).to_dict()
    if form != "py":  # they have no tuples
        again, first = as_lists(again), as_lists(first)
    assert again == first


def as_lists(value):
    if isinstance(value, dict):
        return {key: as_lists(inner) for key, inner in value.items()}
    return [as_lists(one) for one in value] if isinstance(value, (list, tuple)) else value


def test_a_part_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", RETINANET, "--key", "model.neck.out_channels"]) == 0
    assert capsys.readouterr().out == "out_channels = 256\n"
    assert main(["show", RETINANET, "--key", "model.nek"]) == 2
    assert "Did you mean 'model.neck'" in capsys.readouterr().err


def test_what_a_training_changes_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    config = "mmattn::folder/ccnet_r18-d8_1xb4-2k_folder-256x256.py"
    assert main(["show", config, "--resolved", "--key", "work_dir"]) == 0
    out = capsys.readouterr().out
    assert "# default hooks: default_hooks.checkpoint.type = 'mmattn.CheckpointHook'" in out
    assert "model.decode_head.num_classes stays 'auto'" in out
    assert out.endswith('work_dir = "work_dirs/ccnet_r18-d8_1xb4-2k_folder-256x256"\n')


def test_a_step_more_is_one_difference() -> None:
    first = {"pipeline": [{"type": "A"}, {"type": "B", "p": 1}]}
    second = {"pipeline": [{"type": "A"}, {"type": "New"}, {"type": "B", "p": 2}]}
    found = [str(one) for one in differences(first, second)]
    assert found == ["+ pipeline[1] = dict(type='New')", "~ pipeline[1].p: 1 -> 2"]


def test_the_exit_code_tells_a_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    child = tmp_path / "child.py"
    child.write_text(f"_base_ = '{RETINANET}'\nmodel = dict(neck=dict(out_channels=128))\n")
    assert main(["diff", str(child), str(child), "--exit-code"]) == 0
    assert main(["diff", RETINANET, str(child), "--exit-code", "--key", "model.neck"]) == 1
    assert "~ neck.out_channels: 256 -> 128" in capsys.readouterr().out


def test_lint_tells_its_findings_by_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "child.py"
    config.write_text(f"_base_ = '{FCN}'\nunused = 1\n")
    assert main(["lint", str(config), "--select", "unused-variable"]) == 1
    assert "child.py:2: nothing reads the variable 'unused' [unused-variable]" in (
        capsys.readouterr().out
    )
    assert main(["lint", str(config), "--ignore", "unused-variable"]) == 0
    assert main(["lint", str(config), "--select", "unused-varable"]) == 2
    assert "Did you mean 'unused-variable'" in capsys.readouterr().err
