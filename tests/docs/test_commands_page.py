"""docs/commands.md: every command is there, as its own help has it, and its examples are read."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path

import pytest

from mmattn.cli import COMMANDS
from tests.support.commands_page import PAGE, example_lines, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "python -m tests.support.commands_page --update"
    )


@pytest.mark.parametrize("verb", COMMANDS)
def test_examples_are_read_by_the_parser(verb: str, tmp_path: Path, monkeypatch) -> None:
    run = tmp_path / "work_dirs/NAME"
    (run / "20260101_000000/vis_data").mkdir(parents=True)
    (run / "NAME.py").touch()
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"mmattn.cli.{verb}")
    read = 0
    for line in example_lines(verb):
        for command in line.split("source <(") if "source <(" in line else [line]:
            words = shlex.split(command.partition(")")[0] if "<(" in line else command, True)
            words = words[: words.index(">")] if ">" in words else words
            if words[:2] != ["mmattn", verb]:
                continue  # another command, such as a launcher
            module.parse_args([word for word in words[2:] if word != "..."])
            read += 1
    assert read, "no example begins with the command"
