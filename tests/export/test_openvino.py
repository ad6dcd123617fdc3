"""OpenVINO's files: made from the ONNX file, judged by the same check, told apart from it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from mmattn.errors import ExportError
from mmattn.export import (
    OpenVINOSession,
    check_parity,
    convert_to_openvino,
    find_format,
    load_exported,
)


@pytest.fixture(scope="session")
def openvino():  # of the widest scope, so that it skips before anything is exported
    return pytest.importorskip("openvino", reason="needs the extra mmattn[openvino]")


@pytest.fixture(scope="session")
def graph(openvino, dynamic_file, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("openvino") / "model.xml"
    convert_to_openvino(dynamic_file, path)
    return path


def test_both_files_pass_one_check(graph, small_model, dynamic_file, images, tmp_path) -> None:
    json_path = tmp_path / "parity.json"
    report = check_parity(small_model, dynamic_file, images, converted=[graph], json_path=json_path)
    (converted,) = report.converted
    assert "onnxruntime" in report.runtime and "OpenVINO" in converted.runtime
    sizes = [[(row.batch, row.height, row.width) for row in part.rows] for part in report.files]
    assert sizes[0] == sizes[1] and len(sizes[0]) == 5
    assert all(row.max_difference > 0 for row in converted.rows), "torch was compared with itself"
    saved = json.loads(json_path.read_text())
    assert saved["runtime"] == report.runtime and saved["passed"] is True
    (entry,) = saved["converted"]
    assert entry["file"] == str(graph) and entry["runtime"] == converted.runtime
    assert entry["passed"] is True and len(entry["rows"]) == 5


def test_a_wrong_conversion_fails_though_the_onnx_file_passes(
    openvino, small_model, dynamic_file, images, tmp_path
) -> None:
    model = onnx.load(dynamic_file)
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = onnx.numpy_helper.to_array(weights) * np.float32(1.01)
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    onnx.save(model, tmp_path / "other.onnx")
    convert_to_openvino(tmp_path / "other.onnx", tmp_path / "other.xml")
    json_path = tmp_path / "parity.json"
    with pytest.raises(ExportError, match=r"other\.xml does not compute.*OpenVINO") as error:
        check_parity(
            small_model,
            dynamic_file,
            images[:1],
            converted=[tmp_path / "other.xml"],
            json_path=json_path,
        )
    assert str(dynamic_file) not in str(error.value)
    saved = json.loads(json_path.read_text())
    assert saved["passed"] is False and saved["converted"][0]["passed"] is False


def test_the_file_is_enough_to_use_it(graph, dynamic_file, images) -> None:
    converted, original = load_exported(graph), load_exported(dynamic_file)
    assert isinstance(converted.session, OpenVINOSession)
    assert converted.metadata == original.metadata
    np.testing.assert_array_equal(converted.predict(images[0]), original.predict(images[0]))


def test_it_computes_in_float32_whatever_the_cpu_offers(openvino, graph) -> None:
    hint = OpenVINOSession(graph).compiled.get_property("INFERENCE_PRECISION_HINT")
    assert hint == openvino.Type.f32


def test_an_output_survives_the_next_call(graph, images) -> None:
    exported = load_exported(graph)
    first = exported.run(images[0][None])["output"]
    kept = first.copy()
    exported.run(images[1][None])
    np.testing.assert_array_equal(first, kept)


def test_what_openvino_cannot_load_is_named(openvino, graph, tmp_path) -> None:
    with pytest.raises(ExportError, match=r"none\.xml: OpenVINO cannot load"):
        OpenVINOSession(tmp_path / "none.xml")
    foreign = openvino.Core().read_model(str(graph))
    foreign.set_rt_info("onnx", "framework")
    openvino.save_model(foreign, str(tmp_path / "foreign.xml"))
    with pytest.raises(ExportError, match="metadata 'task'"):
        OpenVINOSession(tmp_path / "foreign.xml")
    with pytest.raises(ExportError, match=r"OpenVINO cannot convert .*none\.onnx"):
        convert_to_openvino(tmp_path / "none.onnx", tmp_path / "none.xml")
    with pytest.raises(ExportError, match=r"must end in \.xml"):
        convert_to_openvino(tmp_path / "none.onnx", tmp_path / "none.ir")


def test_the_missing_extra_is_named(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)  # as if it were not installed
    for use in (
        lambda: find_format("openvino"),
        lambda: OpenVINOSession(tmp_path / "model.xml"),
        lambda: convert_to_openvino(tmp_path / "model.onnx", tmp_path / "model.xml"),
    ):
        with pytest.raises(ExportError, match=r"pip install 'mmattn\[openvino\]'"):
            use()
    assert find_format("onnx").available
