"""Promise: ``key=value`` words are settings wherever they stand, and a misspelt option is told."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from mmattn.cli.compare import parse_args as parse_compare
from mmattn.cli.export import parse_args as parse_export
from mmattn.cli.predict import parse_args as parse_predict
from mmattn.cli.train import parse_args as parse_train


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["c.py", "data=d"], ["data=d"]),
        (["data=d", "c.py", "--amp", "a.b=[1,2]"], ["data=d", "a.b=[1,2]"]),
        (["c.py", "--resume", "data=d"], ["data=d"]),
        (["c.py", "--cfg-options", "x=1", "y=2", "--amp", "z=3"], ["z=3", "x=1", "y=2"]),
        (["c.py", "--work-dir", "lr=1"], None),  # the value of an option
        (["c.py", "--work", "lr=1"], None),  # options may be shortened
        (["c.py"], None),
    ],
)
def test_settings_are_found(words: list[str], settings: list[str] | None) -> None:
    args = parse_train(words)
    assert args.config == "c.py"
    assert args.cfg_options == settings


def test_resume_keeps_a_checkpoint_that_is_named() -> None:
    args = parse_train(["c.py", "--resume", "a.pth", "data=d"])
    assert (args.resume, args.cfg_options) == ("a.pth", ["data=d"])
    assert parse_train(["c.py", "--resume", "data=d"]).resume == "auto"


def test_options_with_several_values_end_at_a_setting() -> None:
    words = ["c.py", "a.pth", "--images", "1.png", "2.png", "data=d", "--shape", "8", "9"]
    args = parse_export(words)
    assert (args.images, args.cfg_options, args.shape) == (["1.png", "2.png"], ["data=d"], [8, 9])


def test_arguments_of_a_block_are_no_setting() -> None:
    words = ["c.py", "--insert", "ELA-T(residual=True)", "--at", "neck", "--budget", "1it", "a=1"]
    args = parse_compare(words)
    assert (args.insert, args.cfg_options) == ("ELA-T(residual=True)", ["a=1"])


def test_a_file_that_is_there_is_no_setting(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--out", "o", "c.py", "a.pth", "day=1.png"]
    assert parse_predict([*words, "b.png"]).images == ["b.png"]
    Path("day=1.png").touch()
    assert parse_predict(words).images == ["day=1.png"]


@pytest.mark.parametrize("command", ["train", "test", "export", "predict", "check", "slots"])
def test_help_shows_settings_in_the_usage(command: str, capsys) -> None:
    with pytest.raises(SystemExit):
        importlib.import_module(f"mmattn.cli.{command}").main(["--help"])
    usage = capsys.readouterr().out.partition("\n\n")[0]
    assert usage.endswith("[KEY=VALUE ...]")
    assert max(map(len, usage.splitlines())) < 80


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["c.py", "--work-dri", "x"], "--work-dri x. Did you mean '--work-dir'?"),
        (["c.py", "--ampp"], "Did you mean '--amp'?"),
        (["c.py", "data", "my"], "Settings of the config are words such as data=my_images"),
    ],
)
def test_what_was_meant_is_told(words: list[str], said: str, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_train(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_commands_of_a_verb_suggest_their_options(capsys) -> None:
    with pytest.raises(SystemExit):
        importlib.import_module("mmattn.cli.data").main(["shapes", "--num-trian", "3"])
    assert "Did you mean '--num-train'" in capsys.readouterr().err
