"""``mmattn.export.export``: the promise "exported and checked" as one function."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmattn.errors import ExportError
from mmattn.export import export, load_exported, load_predictor
from mmattn.export.checked_files import parity_path
from mmattn.export.parity import read_parity
from mmattn.export.run import default_shape
from mmattn.io.byte_counts import bytes_in_words


@pytest.fixture(scope="module")
def checkpoint(small_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("library") / "weights.pth"
    torch.save({"state_dict": small_model.state_dict()}, path)
    return path


@pytest.mark.slow
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
    assert lines[0] == "tracing EncoderDecoder at 64 x 96 …"
    assert lines[2] == "checking against torch at 64 x 96, traced, 2 images …"
    assert f"wrote {tmp_path / 'model.parity.json'}" in lines
    row = next(line for line in lines[-3].splitlines() if line.startswith(str(tmp_path)))
    assert bytes_in_words(result.files[0].stat().st_size) in row and "100.000%" in row
    assert lines[-2] == f"speed: mmattn benchmark {result.files[0]}"


@pytest.mark.slow
def test_by_default_the_file_lies_beside_the_checkpoint(small_config, checkpoint) -> None:
    """One that fails the check is set aside with its report, and no command takes it."""
    with pytest.raises(ExportError, match=r"(?s)FAILS.*is now .*\.onnx\.failed: no command uses"):
        export(small_config, checkpoint, num_images=1, tolerance=0, output="classes",
               min_agreement=1.1)  # fmt: skip
    assert not checkpoint.with_suffix(".onnx").exists()
    report = json.loads(checkpoint.with_suffix(".parity.json").read_text())
    assert report["passed"] is False
    failed = checkpoint.with_suffix(".onnx.failed")
    assert failed.is_file()
    for use in (load_exported, load_predictor, read_parity):
        with pytest.raises(ExportError, match=r"\.failed did not pass the check .*parity\.json"):
            use(failed)


@pytest.mark.slow
def test_an_interrupted_check_leaves_no_file_under_its_name(
    small_config, checkpoint, tmp_path, monkeypatch
) -> None:
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("mmattn.export.parity.check_parity", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(small_config, checkpoint, out=tmp_path / "m.onnx", num_images=1)
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx.failed"]


@pytest.mark.slow
def test_two_exports_into_one_folder_keep_their_reports(small_config, checkpoint, tmp_path) -> None:
    for name, command in (("a.onnx", "mmattn export 'my a'"), ("b.v2.onnx", "mmattn export b")):
        export(small_config, checkpoint, out=tmp_path / name, num_images=1, command=command)
    first, second = (read_parity(tmp_path / name) for name in ("a.onnx", "b.v2.onnx"))
    assert (first["command"], second["command"]) == ("mmattn export 'my a'", "mmattn export b")
    (tmp_path / "c.onnx").touch()
    (tmp_path / "a.parity.json").rename(tmp_path / "c.parity.json")
    with pytest.raises(ExportError, match=r"c\.parity\.json is about a\.onnx, not about c\.onnx"):
        read_parity(tmp_path / "c.onnx")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("x/detector.onnx", "detector.parity.json"),
        ("x/detector.int8.onnx", "detector.parity.json"),
        ("x/detector.xml", "detector.parity.json"),
        ("x/best.epoch_3.onnx.failed", "best.epoch_3.parity.json"),
    ],
)
def test_the_report_is_named_after_the_file(file: str, name: str) -> None:
    assert parity_path(file) == Path("x") / name


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


@pytest.mark.slow
def test_a_report_measures_torch_and_the_exported_file(small_config, checkpoint, tmp_path) -> None:
    """``report`` and what it measures: both forms on the validation set, with the commands."""
    from mmattn.cli.report import main

    exported = tmp_path / "model.onnx"
    typed = f"mmattn export {small_config} {checkpoint} --out {exported}"
    export(small_config, checkpoint, out=exported, num_images=1, command=typed)
    words = [str(small_config), str(checkpoint), "--exported", str(exported)]
    assert main([*words, "--out", str(tmp_path / "page"), "--num-images", "2"]) == 0
    page = (tmp_path / "page" / "README.md").read_text(encoding="utf-8")
    assert "| class" in page and "torch" in page and "onnxruntime" in page
    assert typed in page
    assert "mmattn report" in page and "on 3 validation images" in page
    assert (tmp_path / "page" / "predictions.jpg").is_file()
