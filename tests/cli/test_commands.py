"""The command ``mmattn``: every command answers --help at once, and a wrong one is answered too."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmattn.cli import COMMANDS, GROUPS, RENAMED
from mmattn.cli._parser import commands_of, parser_of
from mmattn.cli.main import main

HEAVY = ("torch", "mmengine", "mmcv", "mmdet", "mmseg", "numpy", "cv2", "rich", "matplotlib")


def test_every_command_has_a_module_and_a_tool(repo: Path) -> None:
    modules = {path.stem for path in (repo / "mmattn" / "cli").glob("[!_]*.py")} - {"main"}
    assert modules == set(COMMANDS)
    for command in COMMANDS:
        text = (repo / "tools" / f"{command}.py").read_text(encoding="utf-8")
        assert f"from mmattn.cli.{command} import main\n" in text
        assert len([line for line in text.splitlines() if line and line[0] not in '#"']) == 4


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy_and_has_an_example(command: str) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['mmattn', '{command}', '--help']\n"
        "try:\n"
        "    runpy.run_module('mmattn', run_name='__main__')\n"
        "finally:\n"
        f"    print('LOADED', *(m for m in {HEAVY} if m in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert f"usage: mmattn {command}" in done.stdout
    assert f"mmattn {command} " in done.stdout.split("examples:")[1], "an example as it is called"
    assert done.stdout.splitlines()[-1].strip() == "LOADED"


def test_help_lists_each_command_with_one_line(capsys) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for command, text in COMMANDS.items():
        assert [line.split(None, 1) for line in lines].count([command, text]) == 1


def test_help_groups_the_commands(capsys) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:-1] for line in lines if line.endswith(":") and line[0] != " "] == list(GROUPS)


def test_without_a_command_the_help_goes_to_stderr(capsys) -> None:
    assert main([]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "train any config" in shown.err


@pytest.mark.parametrize("before", RENAMED)
def test_names_of_before_are_answered_with_the_new_one(before: str, capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([before.replace("_", "-"), "--help"])
    shown = capsys.readouterr()
    now = f"mmattn {' '.join(RENAMED[before])}"
    assert shown.err == f"mmattn {before.replace('_', '-')} is called {now} now.\n"
    assert f"usage: {now} " in shown.out


def test_unknown_verb_gets_a_suggestion_and_code_2(capsys) -> None:
    assert main(["trian", "config.py"]) == 2
    said = capsys.readouterr().err
    assert "unknown command 'trian'. Did you mean 'train'?" in said


def test_hyphens_may_be_typed(capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["check-data", "--help"])
    assert "usage: mmattn check" in capsys.readouterr().out


def test_the_exit_code_is_that_of_the_command(capsys) -> None:
    assert main(["train", "mmseg::fcn/nothing.py"]) == 2
    assert "There is no config mmseg::fcn/nothing.py" in capsys.readouterr().err
    assert main(["export", "no_config.py", "no_weights.pth", "--format", "onx"]) == 7


@pytest.mark.parametrize("command", COMMANDS)
def test_every_argument_has_a_help_text(command: str) -> None:
    parser = parser_of(importlib.import_module(f"mmattn.cli.{command}").parse_args)
    for one in (parser, *commands_of(parser).values()):
        for action in one._actions:
            assert action.help, f"{one.prog}: {action.dest} has no help text"


@pytest.mark.parametrize("command", ["test", "export", "report", "predict"])
def test_a_pattern_that_fits_two_checkpoints_is_told(command: str, tmp_path, capsys) -> None:
    """As ``best_mIoU_iter_*.pth`` does after two trainings into one folder."""
    old, new = tmp_path / "best_mIoU_iter_900.pth", tmp_path / "best_mIoU_iter_20.pth"
    for age, file in ((2, old), (1, new)):
        file.write_bytes(b"")
        os.utime(file, (1e9 - age, 1e9 - age))
    module = importlib.import_module(f"mmattn.cli.{command}")
    words = ["images", "--out", "found"] if command == "predict" else ["--out", "found"]
    with pytest.raises(SystemExit):
        module.main(["config.py", str(new), str(old), *words])
    assert f"not 2: {new}, {old}; the newest is {new}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--baseline", "blur"], "for --faithfulness"), (["--seeds", "2"], "for --sanity")],
)
def test_options_of_checks_that_are_not_made_are_refused(words: list[str], said, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["explain", "c.py", "w.pth", "a.jpg", "--out", "x", *words])
    assert said in capsys.readouterr().err


def test_what_is_no_argument_is_still_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        importlib.import_module("mmattn.cli.test").main(["config.py", "a.pth", "b", "--zebra"])
    assert "unrecognized arguments: b --zebra" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "r", "a.jpg", "--out", "x", "--conf", "0.2"], "--conf is --score-threshold"),
        (["train", "ccnet-tiny", "--epochs", "3"], "without dashes: epochs=VALUE"),
        (["train", "ccnet-tiny", "--imgsz=64"], "without dashes: image_size=VALUE"),
    ],
)
def test_options_of_other_frameworks_are_known(words: list[str], said: str, capsys) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert said in capsys.readouterr().err


def test_a_reader_that_has_gone_ends_a_command_quietly() -> None:
    """``mmattn models | head -1`` leaves no traceback."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mmattn", "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=120) == 141
