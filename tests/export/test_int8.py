"""Promise: an int8 file computes what the float file computes but for rounding, and is measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from mmattn.cli.export import main
from mmattn.errors import ExportError
from mmattn.export import export, load_exported
from mmattn.export.int8 import layers_to_quantize, quantize

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def int8_file(dynamic_file, images, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "small.int8.onnx"
    layers = quantize(dynamic_file, path, images, load_exported(dynamic_file).metadata)
    assert layers == len(layers_to_quantize(onnx.load(dynamic_file)))
    return path


def test_weights_are_int8_per_channel(int8_file: Path) -> None:
    graph = onnx.load(int8_file).graph
    kinds = {t.name: t.data_type for t in graph.initializer}
    axes = [
        node
        for node in graph.node
        if node.op_type == "DequantizeLinear" and kinds.get(node.input[0]) == onnx.TensorProto.INT8
    ]
    assert len(axes) > 10
    scales = {t.name: t.dims for t in graph.initializer}
    assert all(len(scales[node.input[1]]) == 1 for node in axes), "one scale per channel"


def test_the_classifier_stays_in_float(dynamic_file: Path) -> None:
    graph = onnx.load(dynamic_file)
    weights = {t.name: t.dims for t in graph.graph.initializer}
    convs = [node for node in graph.graph.node if node.op_type == "Conv"]
    (last,) = [node for node in convs if weights[node.input[1]][0] == 10]
    chosen = layers_to_quantize(graph)
    assert last.name not in chosen and len(chosen) >= len(convs) - 2


def test_logits_are_those_of_the_float_file_but_for_rounding(
    int8_file: Path, dynamic_file: Path, images: list[np.ndarray]
) -> None:
    before, after = load_exported(dynamic_file), load_exported(int8_file)
    assert (before.metadata.precision, after.metadata.precision) == ("float32", "int8")
    assert after.metadata.classes == before.metadata.classes
    exact = before.run(images[0][None])["output"]
    rounded = after.run(images[0][None])["output"]
    assert not np.array_equal(exact, rounded)
    assert np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] > 0.95
    assert after.run(images[0][None, :40, :56])["output"].shape[2:] == (40, 56)


@pytest.mark.slow
def test_the_report_has_the_metric_before_and_after(
    small_config, small_model, shapes, tmp_path: Path
) -> None:
    torch.save({"state_dict": small_model.state_dict()}, tmp_path / "w.pth")
    words = [small_config, tmp_path / "w.pth", "--out", tmp_path / "m.onnx", "--int8"]
    words += ["--calibration-images", shapes / "images/val", "--num-images", "1"]
    assert main(list(map(str, words))) == 0
    report = json.loads((tmp_path / "m.parity.json").read_text())["int8"]
    assert (report["metric"], report["images"], report["calibration_images"]) == ("mIoU", 3, 3)
    assert 0 < report["before"] < 1 and abs(report["before"] - report["after"]) < 0.1
    assert report["bytes_after"] < report["bytes_before"]
    assert load_exported(tmp_path / "m.int8.onnx").metadata.precision == "int8"


def test_int8_needs_its_images(capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["c.py", "w.pth", "--int8"])
    assert "--calibration-images" in capsys.readouterr().err


def test_int8_of_another_format_is_refused() -> None:
    pytest.importorskip("openvino", reason="needs the extra mmattn[openvino]")
    with pytest.raises(ExportError, match="int8 is written as ONNX"):
        export("c.py", "w.pth", format="openvino", calibration_images=["images"])
