"""tools/export.py as it is typed: one run that passes, and the exit codes of those that do not."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from mmattn.cli.predict import main as predict
from mmattn.errors import ExportError
from mmattn.export import load_exported


@pytest.fixture(scope="module")
def checkpoint(small_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("tool") / "weights.pth"
    torch.save({"state_dict": small_model.state_dict()}, path)
    return path


@pytest.fixture
def main(repo):
    spec = importlib.util.spec_from_file_location("export_tool", repo / "tools" / "export.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool.main


@pytest.mark.slow
def test_export_checks_on_the_validation_set(small_config, checkpoint, repo, tmp_path) -> None:
    out = tmp_path / "model.onnx"
    command = [sys.executable, "tools/export.py", small_config, checkpoint, "--format", "onnx"]
    command += ["--out", out, "--num-images", "2"]
    done = subprocess.run(
        list(map(str, command)), cwd=repo, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "64 x 96" in done.stdout and "only that was checked" in done.stdout
    assert out.is_file()
    parity = json.loads((tmp_path / "model.parity.json").read_text())
    assert parity["passed"] and parity["rows"][0]["images"] == 2


@pytest.mark.slow
def test_violated_tolerance_ends_with_code_7(
    main, small_config, checkpoint, shapes, tmp_path, capsys
) -> None:
    """No rounding at all is allowed, so the honest file fails."""
    out = str(tmp_path / "m.onnx")
    argv = [str(small_config), str(checkpoint), "--out", out, "--tolerance", "0"]
    assert main([*argv, "--num-images", "1"]) == ExportError.exit_code == 7
    assert "FAILS" in capsys.readouterr().err
    image = next((shapes / "images" / "val").iterdir())
    assert predict([f"{out}.failed", str(image), "--out", str(tmp_path / "found")]) == 7
    assert "did not pass the check of its export" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("format", "hint"),
    [("onx", "Did you mean 'onnx'?"), ("tensorrt", "trtexec"), ("openvin", "'openvino'")],
)
def test_other_formats_are_refused_with_the_way_out(main, format, hint, capsys) -> None:
    assert main(["no_config.py", "no_weights.pth", "--format", format]) == 7
    assert hint in capsys.readouterr().err


def test_openvino_without_its_extra_is_refused_before_anything(main, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)  # as if it were not installed
    assert main(["no_config.py", "no_weights.pth", "--format", "openvino"]) == 7
    assert "pip install 'mmattn[openvino]'" in capsys.readouterr().err


def test_openvino_with_classes(main, small_config, checkpoint, tmp_path, capsys) -> None:
    pytest.importorskip("openvino", reason="needs the extra mmattn[openvino]")
    out = tmp_path / "model.xml"
    argv = [str(small_config), str(checkpoint), "--format", "openvino", "--out", str(out)]
    assert main([*argv, "--argmax", "--num-images", "1"]) == 0
    assert "torch against OpenVINO" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model.bin",
        "model.onnx",
        "model.xml",
        "model.parity.json",
    ]
    parity = json.loads((tmp_path / "model.parity.json").read_text())
    assert parity["passed"] and parity["converted"][0]["rows"][0]["agreement"] >= 0.999
    exported = load_exported(out)
    classes = exported(np.zeros((1, 64, 96, 3), np.uint8))
    assert classes.shape == (1, 64, 96) and classes.dtype == np.int64
    with pytest.raises(ExportError, match="image of 64 x 90"):
        exported(np.zeros((1, 64, 90, 3), np.uint8))


@pytest.mark.parametrize(("format", "name"), [("openvino", "m.onnx"), ("onnx", "m.xml")])
def test_a_name_of_another_format_is_refused(main, format, name, capsys) -> None:
    if format == "openvino":
        pytest.importorskip("openvino", reason="needs the extra mmattn[openvino]")
    assert main(["no_config.py", "no_weights.pth", "--format", format, "--out", name]) == 7
    assert f"--out {name}" in capsys.readouterr().err


def test_other_sizes_need_a_file_that_takes_them(main, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["no_config.py", "no_weights.pth", "--check-size", "64", "64"])
    assert "--dynamic" in capsys.readouterr().err


def test_missing_images_are_named(main, small_config, checkpoint, capsys) -> None:
    argv = [str(small_config), str(checkpoint), "--images", "no/such.jpg"]
    assert main(argv) == 4
    assert "no/such.jpg" in capsys.readouterr().err
