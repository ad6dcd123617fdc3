"""Promise: a model's name stands for its config, and a name that is not there gets the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmattn.cli.main import main
from mmattn.config import find_config, model_index
from mmattn.config.find import may_be_name
from mmattn.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def test_names_and_short_names_are_those_of_one_model_each() -> None:
    entries = model_index()
    names = [entry.name for entry in entries]
    short = [entry.alias for entry in entries if entry.alias]
    assert len({*names, *short}) == len(names) + len(short)
    assert all(entry.name == entry.config.stem for entry in entries)
    assert all(entry.task and entry.data and entry.architecture for entry in entries)


def test_every_system_s_configs_are_in_the_index() -> None:
    """Those of ``comparison`` are other projects' networks."""
    listed = {entry.config.resolve() for entry in model_index()}
    left_out = {"_base_", "comparison"}
    configs = {
        file.resolve()
        for file in (ROOT / "configs").rglob("*.py")
        if file.relative_to(ROOT / "configs").parts[0] not in left_out
    }
    assert configs == listed


def test_every_recipe_for_a_folder_has_a_short_name() -> None:
    for entry in model_index():
        assert bool(entry.alias) == (entry.data == "a folder of your own"), entry.name


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("yolov12-n", "folder/yolov12-n_1xb16-100e_folder-640x640.py"),
        ("ccnet", "folder/ccnet_r18-d8_1xb4-2k_folder-256x256.py"),
        ("bevanet-s_1xb8-1k_camvid-176x240", "bevanet/bevanet-s_1xb8-1k_camvid-176x240.py"),
        ("pidnet-s_1xb8-1k_camvid-176x240", "comparison/pidnet-s_1xb8-1k_camvid-176x240.py"),
        ("rtmdet_tiny_8xb32-300e_coco", "rtmdet/rtmdet_tiny_8xb32-300e_coco.py"),
        ("pspnet_r50-d8_4xb2-40k_cityscapes-512x1024", "pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-"
         "512x1024.py"),
    ],
)  # fmt: skip
def test_names_are_found(name: str, file: str) -> None:
    assert str(find_config(name)).endswith(f"configs/{file}")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("yolov12n", "Did you mean 'yolov12-n'"),
        ("ccnett", "Did you mean 'ccnet'"),
        ("mask2former", "There are mask2former-masks, mask2former-panoptic"),
        ("rtmdet_tny_8xb32-300e_coco", "Did you mean 'rtmdet_tiny_8xb32-300e_coco'"),
        ("zebra", "no model of that name. mmattn models lists"),
    ],
)
def test_other_names_get_the_nearest(name: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_config(name)
    assert said in str(caught.value)


def test_a_file_without_its_ending_is_suggested(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "my_config.py").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"Did you mean 'my_config\.py'"):
        find_config("my_config")


def test_paths_are_no_names(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert may_be_name("ccnet") and may_be_name("yolov8.1")
    Path("ccnet").mkdir()
    for text in ("ccnet", "a/ccnet", "ccnet.py", "~", "", "x.yaml"):
        assert not may_be_name(text), text


def test_the_table_can_be_narrowed(capsys) -> None:
    assert main(["models", "--task", "panoptic", "--data", "folder"]) == 0
    shown = capsys.readouterr().out
    assert "short       mask2former-panoptic\n" in shown, "one model: its page"
    assert "mmattn train mask2former-panoptic data=DIR" in shown
    assert main(["models", "ccnet_r18*"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["short", "name", "task", "data", "parameters", "measured", "here"]
    assert all("ccnet_r18" in line for line in lines[2:-2])
    assert main(["models", "--task", "zebra"]) == 2
    assert "there are Instance Segmentation" in capsys.readouterr().err
    assert main(["models", "ccnt"]) == 2
    assert "Did you mean 'ccnet'" in capsys.readouterr().err


def test_a_result_that_was_measured_here_is_shown(capsys) -> None:
    assert main(["models", "ccnet_mobilenetv2_1xb8-1k_camvid-180x240"]) == 0
    assert "66.36 mIoU on CamVid val" in capsys.readouterr().out
