"""``make demo``'s job, from nothing to the report, with next to no training."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_quick_demo_runs_all_steps_without_a_compiler_and_twice(repo, tmp_path) -> None:
    """The demo ends with a report; a second run in the same folder does too."""
    empty = tmp_path / "bin"
    empty.mkdir()
    environment = {**os.environ, "PATH": str(empty)}
    environment.pop("CXX", None)
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "tools/demo.py", "--quick", "--work-dir", str(tmp_path / "demo")],
            cwd=repo,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for step in range(1, 8):
        assert f"[{step}/7]" in done.stdout
    for tool in ("make_shapes", "train", "test", "export"):
        assert f"$ python tools/{tool}.py" in done.stdout
    assert "C++ compiler: none" in done.stdout
    assert json.loads((tmp_path / "demo" / "parity.json").read_text())["passed"]
    report = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert "untrained" in report and "onnxruntime" in report
