"""Promise: docs/deploy_a_detector.md works as it stands, with a small detector in its place."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmattn.cli.export import parse_args as parse_export
from mmattn.cli.main import main
from mmattn.config import load_config
from mmattn.images.frames import VideoWriter
from mmattn.inference import build_model
from tests.support.code_blocks import read_code_blocks
from tests.support.small_detectors import CLASSES, as_if_trained, detector_config, write_config

GUIDE = Path(__file__).resolve().parents[2] / "docs/deploy_a_detector.md"
BLOCKS = read_code_blocks(GUIDE)
pytestmark = pytest.mark.slow  # tests/export/test_detection_export.py has the same path in short
COMMANDS = [shlex.split(c) for b in BLOCKS if b.language == "bash" for c in b.commands]


def set_up(root: Path) -> None:
    rng = np.random.default_rng(0)

    def noise(height: int, width: int) -> np.ndarray:
        return cv2.resize(rng.integers(0, 256, (9, 9, 3), np.uint8), (width, height))

    for folder in ("data/photos", "work_dirs/mine"):
        (root / folder).mkdir(parents=True)
    for index in range(2):
        cv2.imwrite(str(root / f"data/photos/{index}.png"), noise(96, 128))
    cv2.imwrite(str(root / "data/large.png"), noise(200, 240))
    writer = VideoWriter(root / "data/street.mp4", (96, 128), 5)
    for _ in range(4):
        writer.write(noise(96, 128))
    writer.close()
    run = root / "work_dirs/mine"
    config = detector_config("GFL", Path("none.json"), Path("data/photos"))
    write_config(run / "mine.py", config)
    torch.manual_seed(0)
    model = as_if_trained(build_model(load_config(run / "mine.py")))
    meta = {"dataset_meta": {"classes": CLASSES}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, run / "best.pth")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the guide's files, in which its commands were run; the current directory."""
    root = tmp_path_factory.mktemp("guide")
    set_up(root)
    before = Path.cwd()
    os.chdir(root)
    for words in COMMANDS:
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            assert words[0] == "mmattn" and main(words[1:]) == 0, shown.getvalue()
    yield root
    os.chdir(before)


def test_the_commands_leave_what_the_guide_names(place: Path) -> None:
    run = place / "work_dirs/mine"
    assert json.loads((run / "detector.parity.json").read_text())["passed"]
    assert len(COMMANDS) == 5
    for folder in ("found", "found-torch"):
        assert sorted(f.name for f in (run / folder).glob("*.jpg")) == [
            "0_boxes.jpg",
            "1_boxes.jpg",
        ]
    assert list((run / "found/crops").glob("*/*.jpg"))
    assert (run / "video/street_boxes.mp4").stat().st_size > 0
    content = json.loads((run / "large/detections.json").read_text())
    assert content["images"][0]["width"] == 240 and content["annotations"]


def test_file_and_model_find_the_same(place: Path) -> None:
    first, second = (
        json.loads((place / f"work_dirs/mine/{folder}/detections.json").read_text())["annotations"]
        for folder in ("found", "found-torch")
    )
    assert len(first) == len(second) > 5
    for a, b in zip(first, second, strict=True):
        assert a["category_name"] == b["category_name"]
        np.testing.assert_allclose(a["bbox"], b["bbox"], atol=0.02)


@pytest.mark.parametrize("file", ["run_detector.py", "run_with_mmattn.py"])
def test_the_programs_print_detections(file: str, place: Path) -> None:
    (block,) = [block for block in BLOCKS if block.file == file]
    (place / file).write_text(block.code, encoding="utf-8")
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        runpy.run_path(str(place / file))
    assert any(name in shown.getvalue() for name in CLASSES)


def test_options_in_the_text_exist() -> None:
    text = GUIDE.read_text("utf-8")
    forms = re.findall(r"^\| `(\w+)`(?: \(default\))? \| .*(?:boxes|head)", text, re.MULTILINE)
    assert forms == ["nms", "decoded", "raw"]
    for form in forms:
        assert parse_export(["c.py", "w.pth", "--form", form]).form == form
