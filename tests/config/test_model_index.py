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


def test_every_config_is_in_the_index() -> None:
    listed = {entry.config.resolve() for entry in model_index()}
    configs = {
        file.resolve()
        for file in (ROOT / "configs").rglob("*.py")
        if file.relative_to(ROOT / "configs").parts[0] != "_base_"
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
    shown = capsys.readouterr().out
    assert "measured    66.36 mIoU on CamVid val\n" in shown
    assert "  command   mmattn train configs/ccnet/ccnet_mobilenetv2" in shown
    assert "  commit    fafe87f-dirty, 2 CPU cores, one thread\n" in shown
    assert "  page      docs/results/ccnet_camvid/README.md\n" in shown


def test_a_published_number_has_its_table_and_row_and_is_not_called_ours(capsys) -> None:
    assert main(["models", "bevanet_2xb6-500e_cityscapes-1024x1024"]) == 0
    shown = capsys.readouterr().out
    assert "parameters  58,823,892\nmeasured    nothing here\n" in shown
    assert "published   81.0 mIoU on Cityscapes val (with ImageNet weights; the paper" in shown
    assert "  by        the authors' README, Model (Cityscapes), row BEVANet\n" in shown
    assert "  here      not reproduced, it needs two GPUs and the dataset\n" in shown
    assert "weights     mmattn weights pull bevanet_2xb6-500e_cityscapes-1024x1024\n" in shown


def test_weights_of_other_projects_are_named(capsys) -> None:
    assert main(["models", "atss_r50_fpn_dyhead-mmdet_1x_coco"]) == 0
    shown = capsys.readouterr().out
    assert "weights     mmattn weights pull atss_r50_fpn_dyhead_1x_coco\n" in shown


@pytest.mark.parametrize("columns", [72, 80, 120])
def test_in_a_terminal_the_table_fits_and_no_name_is_cut(columns: int, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "task", "data", "parameters", "measured", "here"]
    assert max(map(len, lines)) <= columns
    words = {word for line in lines for word in line.split()}
    assert {entry.alias or entry.name for entry in model_index()} <= words
    assert any("66.36 mIoU" in line and "3.22 M" in line for line in lines)


def test_a_wide_table_is_whole_in_a_terminal_as_in_a_pipe(capsys, monkeypatch) -> None:
    assert main(["models"]) == 0
    piped = capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["models", "--wide"]) == 0
    assert capsys.readouterr().out == piped
    assert "a folder of your own" in piped and "\u2026" not in piped
