"""A report on a detector: measured on the validation set, and nothing is written into the run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mmattn.engine
from mmattn.cli.report import main
from mmattn.config import load_config
from mmattn.engine.detection_measurement import measure_run
from mmattn.errors import ConfigError
from mmattn.inference import build_model


@pytest.fixture(scope="module")
def run(repo: Path, shapes_root: Path, tmp_path_factory) -> tuple[Path, Path]:
    """A config and the weights of an untrained network."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHAPES_ROOT", str(shapes_root))
        config = folder / "tiny.py"
        # Dumped, it holds the paths themselves.
        load_config(repo / "tests/support/configs/tiny_retinanet.py").dump(config)
    torch.manual_seed(0)
    model = build_model(load_config(config))
    checkpoint = folder / "epoch_1.pth"
    torch.save({"state_dict": model.state_dict()}, checkpoint)
    return config, checkpoint


def test_the_numbers_are_those_of_a_test(run, tmp_path: Path) -> None:
    config, checkpoint = run
    before = sorted(config.parent.rglob("*"))
    measured = measure_run(config, checkpoint, num_images=2)
    assert sorted(config.parent.rglob("*")) == before
    tested = mmattn.engine.test(config, str(checkpoint), work_dir=str(tmp_path / "test"))
    numbers = measured.numbers["bbox"]
    assert round(numbers.value("AP"), 3) == tested["coco/bbox_mAP"]
    assert numbers.num_images == measured.num_images == 4 and len(numbers.worst) <= 2
    (folder,) = (tmp_path / "test").glob("*/vis_data")
    content = json.loads((folder / "detection_bbox_test.json").read_text())
    assert content["classes"] == numbers.to_json()["classes"]
    assert (folder / "worst_bbox_test.png").is_file()


def test_the_command_writes_both_pages(run, tmp_path: Path, capsys) -> None:
    config, checkpoint = run
    assert main([str(config), str(checkpoint), "--out", str(tmp_path / "r"), "--html"]) == 0
    assert "report.html" in capsys.readouterr().out
    text = (tmp_path / "r/README.md").read_text(encoding="utf-8")
    assert "## Results per class: boxes on 4 validation images" in text
    assert "Worst images" in (tmp_path / "r/report.html").read_text(encoding="utf-8")


def test_without_cocos_metric_the_message_says_what_to_add(run, tmp_path: Path) -> None:
    config, checkpoint = run
    cfg = load_config(config)
    cfg.val_evaluator = {"type": "VOCMetric", "metric": "mAP"}
    other = tmp_path / "voc.py"
    cfg.dump(other)
    with pytest.raises(
        ConfigError, match=r"val_evaluator has ClasswiseVOCMetric. Add dict\(type='mmdet"
    ):
        measure_run(other, checkpoint)


def test_an_exported_detector_is_refused_before_anything_is_built(run, tmp_path, capsys) -> None:
    config, checkpoint = run
    arguments = [str(config), str(checkpoint), "--out", str(tmp_path / "r")]
    assert main([*arguments, "--exported", "model.onnx"]) == ConfigError.exit_code
    assert "a report on object detection measures the checkpoint alone" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_a_task_without_a_report_says_which_have_one(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mmattn.tasks

    without = replace(mmattn.tasks.PANOPTIC, report=None)
    monkeypatch.setattr(mmattn.tasks, "task_of", lambda cfg: without)
    config = tmp_path / "panoptic.py"
    config.write_text(
        "model = dict(type='X')\nval_evaluator = dict(type='CocoPanopticMetric')\n"
        "default_scope = 'mmdet'\n"
    )
    assert main([str(config), "x.pth", "--out", str(tmp_path / "r")]) == ConfigError.exit_code
    said = capsys.readouterr().err
    assert "no report on panoptic segmentation" in said and "instance segmentation" in said
