"""Promise: docs/walkthrough.md works as it stands, from generated images to a comparison."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.code_blocks import read_code_blocks

GUIDE = Path(__file__).resolve().parents[2] / "docs/walkthrough.md"
COMMANDS = [c for b in read_code_blocks(GUIDE) if b.language == "bash" for c in b.commands]
#: What is there afterwards, and the page speaks of.
LEFT = [
    "my_images/video.mp4",
    "runs/segmentor/report.html",
    "segmentor.onnx",
    "segmentor.parity.json",
    "explained/000000_explained.png",
    "runs/detector/report.html",
    "detector.onnx",
    "explained_boxes/000000_explained.png",
    "runs/compare/report.md",
    "runs/compare/report.html",
]


def test_no_command_opens_a_python_file() -> None:
    assert COMMANDS and all(command.startswith("mmattn ") for command in COMMANDS)
    assert not [command for command in COMMANDS if ".py" in command]


@pytest.mark.slow
def test_the_walk_is_walked(tmp_path: Path) -> None:
    scripts = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    for command in COMMANDS:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=1200,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert not [name for name in LEFT if not (tmp_path / name).is_file()]
    for file in ("segmentor", "detector"):
        assert json.loads((tmp_path / f"{file}.parity.json").read_text())["passed"]
    assert list((tmp_path / "found_video").glob("video*.mp4"))
    assert list((tmp_path / "found_boxes").glob("video*.mp4"))
