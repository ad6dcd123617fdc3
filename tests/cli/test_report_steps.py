"""Promise: a report shows the commands that were typed, quoted, and none that it made up."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from mmattn.cli._arguments import command_line
from mmattn.cli.report import _steps, parse_args


def run_folder(folder: Path, command: str | None) -> Path:
    start = folder / "20260101_000000"
    (start / "vis_data").mkdir(parents=True)
    (start / "vis_data/scalars.json").write_text(json.dumps({"lr": 0.1, "loss": 1.0, "step": 1}))
    if command is not None:
        (start / "command.txt").write_text(command + "\n")
    return folder / "epoch_1.pth"


def test_training_and_export_are_shown_as_they_were_typed(tmp_path: Path) -> None:
    words = ["my config.py", "--cfg-options", "data=a b", "model.x=[1,2]"]
    typed = command_line("mmattn train", words)
    assert shlex.split(typed) == ["mmattn", "train", *words]
    checkpoint = run_folder(tmp_path, typed)
    exported = tmp_path / "model.onnx"
    exported.touch()
    export = command_line("mmattn export", ["my config.py", "--images", "my photos"])
    report = {"rows": [{}], "file": str(exported), "command": export}
    (tmp_path / "model.parity.json").write_text(json.dumps(report))
    argv = ["my config.py", str(checkpoint), "--exported", str(exported), "--out", "my report"]
    steps = _steps(parse_args(argv), command_line("mmattn report", argv))
    assert [(step.title, step.command) for step in steps] == [
        ("Train", typed),
        ("Export", export),
        ("Report", shlex.join(["mmattn", "report", *argv])),
    ]


def test_what_nobody_typed_is_left_out(tmp_path: Path) -> None:
    checkpoint = run_folder(tmp_path, None)
    argv = ["config.py", str(checkpoint), "--out", "r"]
    assert [step.title for step in _steps(parse_args(argv), "mmattn report")] == ["Report"]
