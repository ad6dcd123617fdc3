"""A story shows what it runs, remembers it, and stops at the first step that fails."""

from __future__ import annotations

import pytest

from mmattn.reports.story import StepFailed, Story


def test_steps_are_numbered_and_remembered(tmp_path) -> None:
    script = tmp_path / "tool.py"
    script.write_text("import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('ran')")
    out = tmp_path / "a file"
    lines: list[str] = []
    story = Story(total=2, write=lines.append)
    with story.step("First"):
        story.run(str(script), out)
    with story.step("Second"):
        story.say("nothing to run")
    assert out.read_text() == "ran"
    assert [line.strip() for line in lines] == [
        "[1/2] First", f"$ python {script} '{out}'", "[2/2] Second", "nothing to run",
    ]  # fmt: skip
    assert [(step.title, bool(step.command)) for step in story.steps] == [
        ("First", True), ("Second", False),
    ]  # fmt: skip
    assert story.seconds == sum(step.seconds for step in story.steps) > 0


def test_a_failed_command_stops_with_its_code(tmp_path) -> None:
    script = tmp_path / "tool.py"
    script.write_text("raise SystemExit(6)")
    story = Story(total=1, write=lambda line: None)
    with pytest.raises(StepFailed, match="code 6") as failure, story.step("First"):
        story.run(str(script))
    assert failure.value.exit_code == 6
    assert story.steps == []
