"""tools/export.py as it is typed: one run that passes, and the exit codes of those that do not."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest
import torch

from mmattn.errors import ExportError


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
    parity = json.loads((tmp_path / "parity.json").read_text())
    assert parity["passed"] and parity["rows"][0]["pictures"] == 2


def test_violated_tolerance_ends_with_code_7(
    main, small_config, checkpoint, tmp_path, capsys
) -> None:
    """No rounding at all is allowed, so the honest file fails."""
    out = str(tmp_path / "m.onnx")
    argv = [str(small_config), str(checkpoint), "--out", out, "--tolerance", "0"]
    assert main([*argv, "--num-images", "1"]) == ExportError.exit_code == 7
    assert "FAILS" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("format", "hint"),
    [("onx", "Did you mean 'onnx'?"), ("tensorrt", "trtexec"), ("openvino", "ovc")],
)
def test_other_formats_are_refused_with_the_way_out(main, format, hint, capsys) -> None:
    assert main(["no_config.py", "no_weights.pth", "--format", format]) == 7
    assert hint in capsys.readouterr().err


def test_missing_pictures_are_named(main, small_config, checkpoint, capsys) -> None:
    argv = [str(small_config), str(checkpoint), "--images", "no/such.jpg"]
    assert main(argv) == 4
    assert "no/such.jpg" in capsys.readouterr().err
