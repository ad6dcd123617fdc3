"""An exported file: the same numbers at any size, standard operators, all it takes to be used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from mmengine.config import Config

from mmattn.errors import ExportError
from mmattn.export import OnnxSession, check_parity, export_onnx, load_exported
from mmattn.export.formats.rewrites import adaptive_avg_pool2d


def test_dynamic_file_matches_torch_at_every_size(
    small_model, dynamic_file, images, tmp_path
) -> None:
    json_path = tmp_path / "parity.json"
    report = check_parity(small_model, dynamic_file, images, json_path=json_path)
    sizes = {row.name: (row.batch, row.height, row.width) for row in report.rows}
    assert sizes["traced"] == (1, 64, 96)
    assert sizes["smaller"] < sizes["traced"] < sizes["larger"]
    assert sizes["odd"][1] % 2 == sizes["odd"][2] % 2 == 1
    assert sizes["batch of two"] == (2, 64, 96)
    assert all(row.max_logit > 0.1 for row in report.rows), "logits near 0 would prove nothing"
    saved = json.loads(json_path.read_text())
    assert saved["passed"] is True
    assert len(saved["rows"]) == len(report.rows)


def test_file_holds_standard_operators_only(dynamic_file) -> None:
    model = onnx.load(dynamic_file)
    assert [entry.domain for entry in model.opset_import] == [""]
    assert len(model.functions) == 0
    assert {node.domain for node in model.graph.node} == {""}
    onnx.checker.check_model(model, full_check=True)


def test_axes_have_names_that_say_what_they_are(dynamic_file) -> None:
    graph = onnx.load(dynamic_file).graph
    (images,), (output,) = graph.input, graph.output
    assert images.name == "images" and output.name == "output"
    dims = [dim.dim_param or dim.dim_value for dim in images.type.tensor_type.shape.dim]
    assert dims == ["batch", 3, "height", "width"]
    dims = [dim.dim_param or dim.dim_value for dim in output.type.tensor_type.shape.dim]
    assert dims == ["batch", 10, "height", "width"]


def test_metadata_is_enough_to_use_the_file(dynamic_file) -> None:
    metadata = OnnxSession(dynamic_file).metadata
    assert metadata.task == "semantic segmentation"
    assert metadata.classes[:2] == ["circle", "square"] and len(metadata.classes) == 10
    assert len(metadata.palette) == 10
    assert metadata.mean == pytest.approx([123.675, 116.28, 103.53])
    assert metadata.std == pytest.approx([58.395, 57.12, 57.375])
    assert metadata.network_channel_order == "RGB"
    assert (metadata.shape, metadata.dynamic, metadata.size_divisor) == ([64, 96], True, 1)
    assert (metadata.config, metadata.checkpoint, metadata.opset) == ("small", "w", 18)
    assert onnx.load(dynamic_file).opset_import[0].version == 18


@pytest.mark.slow
def test_class_output_of_a_bgr_model_at_one_size(build, small_config, images, tmp_path) -> None:
    """No normalisation, BGR network, argmax in the graph, fixed size."""
    cfg = Config.fromfile(small_config)
    cfg.model.data_preprocessor = {"type": "SegDataPreProcessor"}
    model = build(cfg)
    path = tmp_path / "classes.onnx"
    metadata = export_onnx(model, path, shape=(64, 96), output="classes")
    assert metadata.network_channel_order == "BGR"
    report = check_parity(model, path, images)
    assert [row.name for row in report.rows] == ["traced"]
    assert "only that was checked" in report.table()
    exported = load_exported(path)
    output = exported.run(np.stack(images[:1]))["output"]
    assert output.shape == (1, 64, 96) and output.dtype == np.int64
    with pytest.raises(ExportError, match="image of 64 x 90"):
        exported(np.zeros((1, 64, 90, 3), np.uint8))


@pytest.mark.slow
def test_pooling_bins_follow_the_image(build, small_config, images, tmp_path) -> None:
    """PSPNet pools to 1, 2, 3 and 6 bins; the exporter alone would freeze those of the trace."""
    cfg = Config.fromfile(small_config)
    cfg.model.decode_head.update(type="PSPHead", pool_scales=(1, 2, 3, 6))
    model = build(cfg)
    path = tmp_path / "psp.onnx"
    export_onnx(model, path, shape=(64, 96), dynamic=True)
    assert len(check_parity(model, path, images[:1]).rows) == 5


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (6, 12), (13, 4)])
@pytest.mark.parametrize("bins", [(1, 1), (1, 3), (2, 2), (6, 6)])
def test_adaptive_pooling_equals_torch(size, bins) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = torch.nn.functional.adaptive_avg_pool2d(x, bins)
    torch.testing.assert_close(adaptive_avg_pool2d(x, list(bins)), expected)


def test_changed_weights_are_noticed(small_model, dynamic_file, images, tmp_path) -> None:
    """The promise behind exit code 7: a file that computes something else never passes."""
    model = onnx.load(dynamic_file)
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = onnx.numpy_helper.to_array(weights) * np.float32(1.01)
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    path = tmp_path / "perturbed.onnx"
    onnx.save(model, path)
    json_path = tmp_path / "parity.json"
    with pytest.raises(ExportError, match="FAILS"):
        check_parity(small_model, path, images[:1], json_path=json_path)
    assert json.loads(json_path.read_text())["passed"] is False


@pytest.mark.slow
def test_more_sizes_on_request(small_model, dynamic_file, images, tmp_path) -> None:
    report = check_parity(small_model, dynamic_file, images[:1], sizes=[(33, 70), (64, 64)])
    assert [(row.height, row.width) for row in report.rows[5:]] == [(33, 70), (64, 64)]
    for key, value, hint in (("dynamic", "false", "--dynamic"), ("size_divisor", "8", "of 8")):
        model = onnx.load(dynamic_file)
        next(prop for prop in model.metadata_props if prop.key == key).value = value
        path = tmp_path / "stricter.onnx"
        onnx.save(model, path)
        with pytest.raises(ExportError, match=f"size 64 x 68 cannot be checked.*{hint}"):
            check_parity(small_model, path, images[:1], sizes=[(64, 68)])


def test_nan_fails_and_stays_readable(small_model, dynamic_file, images, tmp_path) -> None:
    model = onnx.load(dynamic_file)
    bias = next(t for t in model.graph.initializer if list(t.dims) == [10])
    values = np.full(10, np.nan, np.float32)
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    onnx.save(model, tmp_path / "nan.onnx")
    json_path = tmp_path / "parity.json"
    with pytest.raises(ExportError, match="FAILS"):
        check_parity(small_model, tmp_path / "nan.onnx", images[:1], json_path=json_path)
    row = json.loads(json_path.read_text())["rows"][0]
    assert row["max_difference"] is None


def test_foreign_onnx_files_are_refused(dynamic_file, tmp_path) -> None:
    model = onnx.load(dynamic_file)
    del model.metadata_props[:]
    path = tmp_path / "foreign.onnx"
    onnx.save(model, path)
    with pytest.raises(ExportError, match="metadata 'task'"):
        OnnxSession(path)
    with pytest.raises(ExportError, match="onnxruntime cannot load"):
        OnnxSession(tmp_path / "none.onnx")


def test_other_networks_are_refused_by_name() -> None:
    class Network(torch.nn.Module):
        pass

    with pytest.raises(ExportError, match="Network cannot be exported: it is neither"):
        export_onnx(Network(), Path("never.onnx"), shape=(64, 64))
