"""Promise: the comparison in docs/compare.md runs as it stands, and its detector is one."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from mmattn.cli.main import main
from mmattn.config import load_config
from mmattn.inference import build_model
from tests.support.code_blocks import read_code_blocks

GUIDE = Path(__file__).resolve().parents[2] / "docs/compare.md"
BLOCKS = [block for block in read_code_blocks(GUIDE) if block.heading == "In a detector"]


def test_the_detector_is_one_without_a_block(tmp_path: Path) -> None:
    config, _ = BLOCKS
    file = tmp_path / config.file
    file.write_text(config.code)
    model = build_model(load_config(file))
    assert type(model).__name__ == "RetinaNet"
    assert not any(type(part).__module__.startswith("mmattn.projects") for part in model.modules())


@pytest.mark.slow
def test_the_detector_is_compared_by_its_commands(tmp_path: Path, monkeypatch) -> None:
    """The commands as they stand, on fewer images, for fewer iterations, with one seed less."""
    monkeypatch.chdir(tmp_path)
    config, bash = BLOCKS
    Path(config.file).write_text(config.code)
    shorter = {"200": "8", "80": "4", "300it": "4it", "3": "2"}
    for command in bash.commands:
        program, *words = (shorter.get(word, word) for word in shlex.split(command))
        assert program == "mmattn"
        assert main(words) == 0
    report = json.loads(Path("work_dirs/compare_my_detector/report.json").read_text())
    labels = [row["label"] for row in report["variants"]]
    assert labels[:4] == ["none", "SE", "CBAM", "other seeds"] and "wider host" in labels[4]
    assert report["metric"] == "coco/bbox_mAP"
    assert report["variants"][1]["difference"]["image_interval"]
    assert list(report["variants"][1]["beside"]) == ["coco/bbox_mAP_50"]
    page = Path("work_dirs/compare_my_detector/report.md").read_text()
    assert "## Beside: coco/bbox_mAP_50" in page
    assert "without post-processing (resizing to the image, decoding of boxes, NMS)." in page
    assert Path("work_dirs/compare_my_detector/runs/SE/seed1/matches_coco_bbox.npz").is_file()
