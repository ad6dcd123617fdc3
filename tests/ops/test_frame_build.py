"""Building operators: names, caching, failures, and what the compiler makes of the kernels."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from mmattn.ops import build
from mmattn.ops.build import Library

SOURCE = """
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include "value.h"
using torch::stable::Tensor;
static int64_t answer(const Tensor& x) { return VALUE + x.numel(); }
STABLE_TORCH_LIBRARY_FRAGMENT(mmattn_toy, m) { m.def("answer(Tensor x) -> int"); }
STABLE_TORCH_LIBRARY_IMPL(mmattn_toy, CPU, m) { m.impl("answer", TORCH_BOX(&answer)); }
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of operators of its own, with one that answers 40 plus the size of its input."""
    root = tmp_path / "ops"
    (root / "csrc").mkdir(parents=True)
    (root / "toy" / "csrc").mkdir(parents=True)
    (root / "csrc" / "value.h").write_text("#define VALUE 40\n")
    (root / "toy" / "csrc" / "toy.cpp").write_text(SOURCE)
    monkeypatch.setattr(build, "ROOT", root)
    monkeypatch.setattr(build, "EMBEDDED", root / "_lib")
    monkeypatch.setenv("MMATTN_OPS_CACHE", str(tmp_path / "cache"))
    build.find.cache_clear()
    yield root
    build.find.cache_clear()


needs_compiler = pytest.mark.skipif(build.cxx() is None, reason="no C++ compiler")


def test_name_follows_sources_headers_and_variant(tree: Path) -> None:
    names = {Library("toy", "cpp", variant).file_name for variant in ("avx2", "avx512")}
    (tree / "csrc" / "value.h").write_text("#define VALUE 41\n")
    names.add(Library("toy", "cpp", "avx2").file_name)
    (tree / "toy" / "csrc" / "toy.cpp").write_text(SOURCE + "// changed\n")
    names.add(Library("toy", "cpp", "avx2").file_name)
    assert len(names) == 4


@needs_compiler
def test_built_once_then_found_and_loaded(tree: Path) -> None:
    first = build.build(jobs=1)
    assert [outcome.error for outcome in first] == [""] * len(first)
    again = build.build(jobs=1)
    assert [outcome.path for outcome in again] == [outcome.path for outcome in first]
    assert all(outcome.seconds == 0.0 for outcome in again)
    variants = tuple(build.cpu_variants(torch.backends.cpu.get_cpu_capability()))
    if not variants:
        pytest.skip("this CPU runs plain torch")
    path = build.find("toy", "cpp", variants)
    assert path.parent == build.cache_directory()
    assert sorted(p.suffix for p in path.parent.iterdir()) == [".so"] * len(first)  # no leftovers
    torch.ops.load_library(path)
    assert torch.ops.mmattn_toy.answer(torch.zeros(2)) == 42
    # A changed source is another library: what was built for the old one is not taken.
    (tree / "csrc" / "value.h").write_text("#define VALUE 41\n")
    build.find.cache_clear()
    assert build.find("toy", "cpp", variants) is None


@needs_compiler
def test_broken_source_is_an_outcome_not_an_exception(tree: Path) -> None:
    (tree / "toy" / "csrc" / "toy.cpp").write_text("#error the source is broken\n")
    for outcome in build.build(jobs=1):
        assert outcome.path is None
        assert "the source is broken" in outcome.error
    assert list(build.cache_directory().iterdir()) == []


@needs_compiler
def test_directory_that_cannot_be_written_is_an_outcome(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for outcome in build.build(tmp_path / "file" / "below", jobs=1):
        assert outcome.path is None
        assert "file" in outcome.error


def test_embedded_library_comes_first(tree: Path) -> None:
    """A wheel in a folder that cannot be written brings its libraries along."""
    library = Library("toy", "cpp", "avx2")
    for directory in (build.EMBEDDED, build.cache_directory()):
        directory.mkdir(parents=True)
        (directory / library.file_name).write_bytes(b"")
    assert build.find("toy", "cpp", ("avx512", "avx2")) == build.EMBEDDED / library.file_name


def test_cpus_get_what_they_can_run() -> None:
    if build.platform.machine() != "x86_64":
        pytest.skip("instruction sets of x86-64")
    assert build.cpu_variants("AVX512") == ["avx512", "avx2"]
    assert build.cpu_variants("AVX2") == ["avx2"]
    assert build.cpu_variants("DEFAULT") == []


def test_cuda_is_left_to_machines_that_can_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMATTN_CUDA", "1")
    assert build.cuda_wanted()
    monkeypatch.setenv("MMATTN_CUDA", "0")
    assert not build.cuda_wanted()


@pytest.mark.parametrize(("variant", "register"), [("avx512", "%zmm"), ("avx2", "%ymm")])
def test_kernels_are_vectorised(variant: str, register: str) -> None:
    """The depthwise kernel multiplies and adds whole registers."""
    if shutil.which("objdump") is None:
        pytest.skip("no objdump")
    path = build.find("depthwise_conv2d", "cpp", (variant,))
    if path is None:
        pytest.skip(f"{variant} is not built")
    text = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", path], capture_output=True, text=True, check=True
    ).stdout
    packed = sum(
        "vfmadd" in line and "ps" in line and register in line for line in text.splitlines()
    )
    scalar = sum("vfmadd" in line and "ss " in line for line in text.splitlines())
    assert packed > 100
    assert scalar < packed / 20
