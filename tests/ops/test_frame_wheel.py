"""A wheel that is built beside torch and a compiler brings the compiled operators along."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mmattn.ops import build

pytestmark = pytest.mark.slow


def build_wheel(source: Path, out: Path, *options: str) -> Path:
    uv = Path(sys.executable).with_name("uv")
    line = [uv, "build", "--wheel", "--python", sys.executable, "--out-dir", out, *options, source]
    subprocess.run(line, check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture
def source(repo: Path, tmp_path: Path) -> Path:
    """An export of the tracked files, as a release would be."""
    folder = tmp_path / "source"
    folder.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=repo, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


@pytest.mark.skipif(build.cxx() is None, reason="no C++ compiler")
def test_wheel_beside_torch_is_compiled_and_for_every_python(source: Path, tmp_path: Path) -> None:
    wheel = build_wheel(source, tmp_path / "out", "--no-build-isolation")
    assert "-py3-none-" in wheel.name
    assert not wheel.name.endswith("-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {n.split("/")[0] for n in names if ".dist-info" not in n} == {"mmattn"}
    libraries = {Path(n).name for n in names if n.startswith("mmattn/ops/_lib/")}
    expected = {
        build.Library(op, "cpp", variant).file_name
        for op in build.operators("cpp")
        for variant in build.cpu_variants()
    }
    assert libraries == expected


def test_isolated_wheel_is_pure_and_brings_the_sources(source: Path, tmp_path: Path) -> None:
    wheel = build_wheel(source, tmp_path / "out")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert not [n for n in names if n.endswith(".so")]
    assert "mmattn/ops/csrc/vec.h" in names
    assert "mmattn/ops/depthwise_conv2d/csrc/depthwise_conv2d.cpp" in names
