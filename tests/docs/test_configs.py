"""Promise: what docs/configs.md shows is what the commands print."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from mmattn.cli.main import main
from mmattn.config_tools.lint import RULES
from tests.support.code_blocks import read_code_blocks

GUIDE = Path(__file__).resolve().parents[2] / "docs/configs.md"


@pytest.mark.slow
def test_the_output_is_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = 0
    for block in read_code_blocks(GUIDE):
        if block.file:
            Path(block.file).write_text(block.code)
        elif block.language == "console":
            command, _, output = block.code.partition("\n")
            main(shlex.split(command.removeprefix("$ mmattn ")))
            assert capsys.readouterr().out.rstrip() == output.rstrip(), command
            shown += 1
    assert shown == 6


def test_every_rule_is_told() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert all(f"`{rule}`" in text for rule in RULES)
