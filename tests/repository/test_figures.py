"""Promise: figures in the README are those that the benchmark wrote, word for word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_readmes_table_of_operators_is_the_commands_output() -> None:
    command = [sys.executable, "benchmarks/ops.py", "--show", "benchmarks/results/ops-cpu.json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.split("<!-- ops-cpu: begin -->")[1].split("<!-- ops-cpu: end -->")[0]
    assert shown.strip() == done.stdout.strip()
