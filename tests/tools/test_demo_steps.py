"""The demo shows what it runs, remembers it, and stops at the first step that fails."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def demo_steps():
    """The module beside tools/demo.py, which is in no package."""
    file = Path(__file__).resolve().parents[2] / "tools" / "demo_steps.py"
    spec = importlib.util.spec_from_file_location("demo_steps", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_steps_are_numbered_and_remembered(demo_steps, tmp_path) -> None:
    script = tmp_path / "tool.py"
    script.write_text("import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('ran')")
    out = tmp_path / "a file"
    lines: list[str] = []
    demo = demo_steps.DemoSteps(total=2, log=lines.append)
    with demo.step("First"):
        demo.run(str(script), out)
    with demo.step("Second"):
        demo.say("nothing to run")
    assert out.read_text() == "ran"
    assert [line.strip() for line in lines] == [
        "[1/2] First", f"$ python {script} '{out}'", "[2/2] Second", "nothing to run",
    ]  # fmt: skip
    assert [(step.title, bool(step.command)) for step in demo.steps] == [
        ("First", True), ("Second", False),
    ]  # fmt: skip
    assert demo.seconds == sum(step.seconds for step in demo.steps) > 0


def test_a_failed_command_stops_with_its_code(demo_steps, tmp_path) -> None:
    script = tmp_path / "tool.py"
    script.write_text("raise SystemExit(6)")
    demo = demo_steps.DemoSteps(total=1, log=lambda line: None)
    with pytest.raises(demo_steps.StepFailed, match="code 6") as failure, demo.step("First"):
        demo.run(str(script))
    assert failure.value.exit_code == 6
    assert demo.steps == []
