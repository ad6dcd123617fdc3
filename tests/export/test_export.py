"""``mmattn.export.export``: the promise "exported and checked" as one function."""

from __future__ import annotations

import json

import pytest
import torch
from mmengine.config import Config

from mmattn.errors import ExportError
from mmattn.export import export, load_exported
from mmattn.export.run import default_shape


@pytest.fixture(scope="module")
def checkpoint(small_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("library") / "weights.pth"
    torch.save({"state_dict": small_model.state_dict()}, path)
    return path


def test_the_result_names_the_files_and_the_check(small_config, checkpoint, tmp_path) -> None:
    lines: list[str] = []
    result = export(
        small_config, checkpoint, out=tmp_path / "model.onnx", num_images=2, log=lines.append
    )
    assert result.files == (tmp_path / "model.onnx",)
    assert result.parity.passed and result.parity.rows[0].images == 2
    assert json.loads(result.parity_file.read_text())["passed"] is True
    assert result.metadata.shape == [64, 96], "the size of the config's data preprocessor"
    assert load_exported(result.files[0]).metadata == result.metadata
    assert lines[0] == "exporting EncoderDecoder at 64 x 96 …"
    assert lines[-1] == f"wrote {tmp_path / 'parity.json'}"


def test_by_default_the_file_lies_beside_the_checkpoint(small_config, checkpoint) -> None:
    """A file that fails the check stays, with its report, and the error says so."""
    with pytest.raises(ExportError, match="FAILS"):
        export(small_config, checkpoint, num_images=1, tolerance=0, output="classes",
               min_agreement=1.1)  # fmt: skip
    assert checkpoint.with_suffix(".onnx").is_file()
    report = json.loads(checkpoint.with_name("parity.json").read_text())
    assert report["passed"] is False


def test_sizes_to_check_need_free_sizes() -> None:
    with pytest.raises(ExportError, match="dynamic"):
        export("no_config.py", "no_weights.pth", sizes=[(64, 64)])


@pytest.mark.parametrize(
    ("cfg", "shape"),
    [
        ({"model": {"data_preprocessor": {"size": (64, 96)}}, "crop_size": 32}, (64, 96)),
        ({"model": {}, "crop_size": 32}, (32, 32)),
        ({"model": {"data_preprocessor": None}}, (512, 512)),
    ],
)
def test_default_shape_is_what_the_model_was_trained_on(cfg, shape) -> None:
    assert default_shape(Config(cfg)) == shape


def test_a_report_measures_torch_and_the_exported_file(small_config, checkpoint, tmp_path) -> None:
    """``report`` and what it measures: both forms on the validation set, with the commands."""
    from mmattn.cli.report import main

    exported = tmp_path / "model.onnx"
    export(small_config, checkpoint, out=exported, num_images=1)
    words = [str(small_config), str(checkpoint), "--exported", str(exported)]
    assert main([*words, "--out", str(tmp_path / "page"), "--num-images", "2"]) == 0
    page = (tmp_path / "page" / "README.md").read_text(encoding="utf-8")
    assert "| class" in page and "torch" in page and "onnxruntime" in page
    assert f"mmattn export {small_config} {checkpoint} --out {exported}" in page
    assert "mmattn report" in page and "on 3 validation images" in page
    assert (tmp_path / "page" / "predictions.jpg").is_file()
