"""The demo shows what it runs, remembers it, and stops at the first step that fails."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
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


STUCK = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\n"
DEMO = """
import sys
sys.path.insert(0, {tools!r})
import demo_steps
from demo_steps import DemoSteps, Terminated, raise_on_termination

demo_steps.PATIENCE = 1
raise_on_termination()
demo = DemoSteps(total=1, log=lambda line: None)
try:
    with demo.step("Train"):
        demo.run({script!r}, {pid!r})
except Terminated as end:
    sys.exit(end.code)
except KeyboardInterrupt:
    sys.exit(130)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("number", "stubborn"),
    [(signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGHUP, False)],
)
def test_whatever_ends_the_demo_ends_its_step(tmp_path: Path, number: int, stubborn: bool) -> None:
    """Nothing trains on when the demo is told to end; one that ignores it is killed."""
    script, pid_file = tmp_path / "tool.py", tmp_path / "pid"
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if stubborn else ""
    script.write_text(ignore + STUCK + "time.sleep(600)\n")
    tools = str(Path(__file__).resolve().parents[2] / "tools")
    code = DEMO.format(tools=tools, script=str(script), pid=str(pid_file))
    demo = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 60
        while not (pid_file.exists() and pid_file.read_text()):
            assert time.monotonic() < deadline and demo.poll() is None
            time.sleep(0.05)
        pid = int(pid_file.read_text())
        demo.send_signal(number)
        assert demo.wait(timeout=60) == 128 + number
        assert not alive(pid)
    finally:
        demo.kill()
