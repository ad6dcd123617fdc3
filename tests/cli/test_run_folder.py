"""Promise: the folder of a run stands for its config and its best checkpoint, which are named."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

import pytest

from mmattn.cli._run_folder import split_model, use_run
from mmattn.cli.export import parse_args as parse_export
from mmattn.cli.test import parse_args as parse_test
from mmattn.config import find_config, find_run
from mmattn.errors import CheckpointError, ConfigError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "20260101_000000/vis_data").mkdir(parents=True)
    (folder / "mine.py").write_text("a = 1\n")
    return folder


def add(folder: Path, *names: str) -> None:
    """Write checkpoints, each a second younger than the one before."""
    for age, name in enumerate(names):
        (folder / name).touch()
        os.utime(folder / name, (1e9 + age, 1e9 + age))


def test_the_best_comes_first_and_is_named(run: Path) -> None:
    add(run, "epoch_9.pth", "best_a_epoch_1.pth", "best_b_epoch_8.pth", "epoch_10.pth")
    found = find_run(run)
    assert (found.config.name, found.checkpoint.name) == ("mine.py", "best_b_epoch_8.pth")
    assert "best_b_epoch_8.pth, the best checkpoint; 2 files are best by something" in found.told
    assert "the last is epoch_10.pth" in found.told
    assert find_run(run, "last").checkpoint.name == "epoch_10.pth"


def test_the_last_is_what_the_run_says(run: Path) -> None:
    add(run, "iter_900.pth", "iter_20.pth")
    assert find_run(run).checkpoint.name == "iter_900.pth"
    (run / "last_checkpoint").write_text("/moved/from/iter_20.pth")
    found = find_run(run)
    assert found.checkpoint.name == "iter_20.pth"
    assert "the last checkpoint: there is no best one" in found.told
    with pytest.raises(CheckpointError, match=r"no best checkpoint .* It has iter_20\.pth"):
        find_run(run, "best")


def test_what_is_missing_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        find_run(run)
    with pytest.raises(CheckpointError, match="Did you mean 'last'"):
        find_run(run, "lst")
    with pytest.raises(ConfigError, match="is not the folder of a run"):
        find_run(tmp_path)
    (run / "other.py").touch()
    with pytest.raises(ConfigError, match=r"has 2 configs, of several runs: mine.py, other.py"):
        find_run(run)


def test_a_run_is_a_config_and_a_folder_of_configs_is_none(run: Path, repo: Path) -> None:
    assert find_config(run) == run / "mine.py"
    with pytest.raises(ConfigError, match="is a folder, not a config"):
        find_config(repo / "configs/folder")


def test_arguments_get_the_files_and_the_folder_as_work_dir(run: Path, capsys) -> None:
    add(run, "epoch_1.pth", "epoch_2.pth")
    args = parse_test([str(run), "a.b=1"])
    use_run(args)
    assert (args.config, args.checkpoint) == (str(run / "mine.py"), str(run / "epoch_2.pth"))
    assert args.work_dir == str(run)
    assert "epoch_2.pth" in capsys.readouterr().out
    args = parse_test([str(run), "epoch_1.pth", "--work-dir", "w"])
    use_run(args)
    assert (args.checkpoint, args.work_dir) == ("epoch_1.pth", "w")
    args = parse_export(["c.py", "best.pth"])
    use_run(args)
    assert (args.config, args.checkpoint) == ("c.py", "best.pth")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not the folder of a run"):
        use_run(Namespace(config=str(tmp_path), checkpoint=None))


@pytest.mark.parametrize(
    ("words", "checkpoint", "images"),
    [
        (["{run}", "photos"], None, ["photos"]),
        (["{run}", "last", "photos"], "last", ["photos"]),
        (["{run}", "x.pth", "a.png", "b.png"], "x.pth", ["a.png", "b.png"]),
        (["{run}"], None, []),
        (["c.py", "x.pth", "a.png"], "x.pth", ["a.png"]),
        (["c.py"], None, []),
    ],
)
def test_images_follow_the_run(run: Path, words, checkpoint, images) -> None:
    words = [word.format(run=run) for word in words]
    assert split_model(words) == (words[0], checkpoint, images)


@pytest.mark.parametrize("parse", [parse_test, parse_export])
def test_a_config_alone_is_refused(parse) -> None:
    with pytest.raises(ConfigError, match="ccnet: give its weights behind it, CONFIG CHECKPOINT"):
        use_run(parse(["ccnet"]))


def test_predict_names_a_run_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mmattn.cli import predict

    (tmp_path / "seg").mkdir()
    with pytest.raises(SystemExit):
        predict.main([f"{tmp_path}/sge", "clip.mp4", "--out", "found"])
    assert f"'sge' is not in {tmp_path}. Did you mean 'seg'?" in capsys.readouterr().err
