"""A report on a detector: measured on the validation set, and nothing is written into the run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import mmattn.engine
from mmattn.cli.report import main
from mmattn.config import load_config
from mmattn.detections import Detections
from mmattn.engine.measurement.detection import OpenedFile, measure_run
from mmattn.errors import ConfigError
from mmattn.export import export
from mmattn.export.check_images import validation_dataset
from mmattn.inference import build_model
from mmattn.reports.detection.run import exported_rows


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_command_writes_both_pages(run, tmp_path: Path, capsys) -> None:
    config, checkpoint = run
    assert main([str(config), str(checkpoint), "--out", str(tmp_path / "r"), "--html"]) == 0
    assert "report.html" in capsys.readouterr().out
    text = (tmp_path / "r/README.md").read_text(encoding="utf-8")
    assert "## Results per class: boxes on 4 validation images" in text
    assert "Worst images" in (tmp_path / "r/report.html").read_text(encoding="utf-8")


@pytest.mark.slow
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


@pytest.mark.slow
def test_an_exported_file_is_measured_by_the_same_metric(run, tmp_path: Path) -> None:
    """A file that finds every object has an AP of 1, whatever the network finds."""
    config, checkpoint = run
    cfg = load_config(config)
    dataset = validation_dataset(cfg)
    truth = {
        info["img_path"]: [(i["bbox"], i["bbox_label"]) for i in info["instances"]]
        for info in map(dataset.get_data_info, range(len(dataset)))
    }

    def predict_file(file: Path) -> tuple[Detections, None]:
        boxes, labels = zip(*truth[str(file)], strict=True)
        return Detections.of(np.array(boxes), np.ones(len(boxes)), np.array(labels)), None

    file = tmp_path / "perfect.onnx"
    file.write_bytes(b"1234")
    perfect = SimpleNamespace(classes=dataset.metainfo["classes"], predict_file=predict_file)
    opened = OpenedFile(file, perfect, {"runtime": "onnxruntime 1"})  # type: ignore[arg-type]
    measured = measure_run(config, checkpoint, exported=opened, num_images=0)
    assert measured.exported is not None and measured.exported.file_bytes == 4
    assert measured.exported.numbers["bbox"].value("AP") == pytest.approx(1)
    assert measured.numbers["bbox"].value("AP") < 0.5
    titles, rows = exported_rows(measured, "bbox")
    assert titles[1:3] == ["AP, torch", "AP, onnxruntime"] and rows[-1][2] == "100.00"

    size = measured.size
    assert size is not None
    assert size.parameters == sum(p.numel() for p in build_model(cfg).parameters())
    assert size.flops > 1e6 and size.input_shape[:2] == (1, 3)


@pytest.mark.slow
def test_the_command_reports_an_exported_file(run, tmp_path: Path, capsys) -> None:
    pytest.importorskip("onnxruntime")
    config, checkpoint = run
    file, out = tmp_path / "tiny.onnx", tmp_path / "r"
    export(str(config), str(checkpoint), out=file, num_images=1)
    words = [str(config), str(checkpoint), "--exported", str(file), "--out", str(out), "--html"]
    assert main(words) == 0, capsys.readouterr().err
    text = (out / "README.md").read_text(encoding="utf-8")
    assert "## The exported file against torch, on 4 validation images" in text
    assert "GFLOPs at 1 x 3 x" in text and "`tiny.onnx`, " in text
    assert json.loads((out / "parity.json").read_text())["file"].endswith("tiny.onnx")
    assert "Does the exported file detect the same?" in (out / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_the_file_of_another_detector_is_refused(run) -> None:
    config, checkpoint = run
    other = SimpleNamespace(classes=["a", "b"], predict_file=None)
    with pytest.raises(ConfigError, match=r"x\.onnx has the classes a, b, the validation set"):
        measure_run(config, checkpoint, exported=OpenedFile(Path("x.onnx"), other, {}))


def test_exported_masks_are_refused_before_anything_is_built(
    repo: Path, tmp_path: Path, capsys
) -> None:
    words = ["mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py", "x.pth", "--out", str(tmp_path / "r")]
    assert main([*words, "--exported", "model.onnx"]) == ConfigError.exit_code
    said = capsys.readouterr().err
    assert "a report on instance segmentation measures the checkpoint alone" in said
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
