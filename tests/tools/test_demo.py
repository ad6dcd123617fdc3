"""``make demo``'s job, from nothing to the report, with next to no training."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmattn.config import load_config


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
    for step in range(1, 13):
        assert f"[{step}/12]" in done.stdout
    for tool in ("data.py shapes", "train.py", "test.py", "export.py", "predict.py", "report.py"):
        assert f"$ python tools/{tool} " in done.stdout
    assert "C++ compiler: none" in done.stdout
    assert json.loads((tmp_path / "demo" / "ccnet.parity.json").read_text())["passed"]
    report = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert "untrained" in report and "onnxruntime" in report
    assert "quick check" in report and "python tools/demo.py trains it" in report
    assert 'href="detector/report.html"' in report
    assert (tmp_path / "demo" / "detector" / "report.html").is_file()
    # The first validation leaves a checkpoint, and an image whose path is printed.
    assert "Saving checkpoint at 2 iterations" in done.stdout
    shown = re.findall(r"Look at (\S+worst_val\.png)", done.stdout)
    assert len(shown) == 2 and Path(shown[0]).is_file()
    assert done.stdout.index(shown[0]) < done.stdout.index("[4/12]")


@pytest.mark.parametrize(
    "config",
    [
        "ccnet/ccnet_r18-d4_1xb8-600_shapes-96x128.py",
        "cbam/atss_r18-narrow-cbam_1xb8-500_shapes-128x96.py",
    ],
)
def test_the_demo_is_planned_for_minutes(repo, config) -> None:
    """Its recipes validate early and often, and each validation leaves a checkpoint."""
    cfg = load_config(repo / "configs" / config)
    interval = cfg.train_cfg.val_interval
    assert cfg.default_hooks.checkpoint.interval == interval <= cfg.train_cfg.max_iters / 4
    assert cfg.train_cfg.max_iters * cfg.train_dataloader.batch_size <= 5000
