"""The stand-in for ``mmcv._ext``: its names, its signatures, and what it leaves alone."""

from __future__ import annotations

import importlib.machinery
import inspect
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import mmcv.ops
import pytest
import torch
from mmcv import _ext

from mmattn.bridge.ext import SUPPLIED
from mmattn.bridge.ext.missing import missing_op
from mmattn.bridge.ext_finder import _ExtFinder
from mmattn.errors import MissingOpError

BINDINGS = Path(mmcv.ops.__file__).parent / "csrc" / "pytorch" / "pybind.cpp"


@pytest.fixture(scope="module")
def signatures() -> dict[str, list[str]]:
    """Names and arguments of all functions that a compiled ``mmcv._ext`` has."""
    if not BINDINGS.is_file():
        pytest.skip(f"mmcv came without its sources: {BINDINGS}")
    found = re.findall(r'm\.def\(\s*"(\w+)"(.*?)\);', BINDINGS.read_text(), re.DOTALL)
    return {name: re.findall(r'py::arg\("(\w+)"\)', rest) for name, rest in found}


@pytest.mark.parametrize("name", SUPPLIED)
def test_signature_is_that_of_the_compiled_function(name, signatures):
    assert list(inspect.signature(getattr(_ext, name)).parameters) == signatures[name]


def test_every_other_function_exists_and_fails_when_called(signatures):
    missing = sorted(set(signatures) - set(SUPPLIED))
    assert len(missing) > 50
    for name in missing:
        function = getattr(_ext, name)  # what mmcv's load_ext asserts
        with pytest.raises(MissingOpError, match=rf"'{name}'.*--no-binary (onedl-)?mmcv"):
            function(torch.zeros(1), anything=1)


@pytest.mark.parametrize(("installed", "package"), [(True, "onedl-mmcv"), (False, "mmcv")])
def test_the_remedy_is_the_mmcv_that_is_installed(installed, package, monkeypatch):
    def version(name):
        if not installed:
            raise PackageNotFoundError(name)
        return "2.3.6"

    monkeypatch.setattr("mmattn.bridge.ext.missing.version", version)
    with pytest.raises(MissingOpError, match=f"--no-binary {package} {package}$"):
        missing_op("nms_rotated")()


def test_error_reaches_the_caller_of_a_missing_op():
    with pytest.raises(MissingOpError, match=r"'nms_rotated' is not available.*mmcv\._ext"):
        mmcv.ops.nms_rotated(torch.rand(2, 5), torch.rand(2), 0.5)


def test_error_names_the_alternative():
    with pytest.raises(MissingOpError, match=r"torch\.nn\.SyncBatchNorm"):
        _ext.sync_bn_forward_mean(torch.rand(2, 2, 3), torch.zeros(2))


def test_private_names_are_not_ops():
    assert not hasattr(_ext, "__path__")
    assert not hasattr(_ext, "_anything")


def test_versions_say_that_nothing_was_compiled():
    assert "mmattn" in mmcv.ops.get_compiler_version()
    assert mmcv.ops.get_compiling_cuda_version() == "not available"


def test_a_compiled_extension_is_left_alone(tmp_path):
    finder = _ExtFinder()
    assert finder.find_spec("mmcv._ext", [str(tmp_path)]).origin == "mmattn.bridge.ext"
    (tmp_path / f"_ext{importlib.machinery.EXTENSION_SUFFIXES[0]}").touch()
    assert finder.find_spec("mmcv._ext", [str(tmp_path)]) is None
    assert finder.find_spec("mmcv.other", [str(tmp_path)]) is None


def test_a_compiled_extension_is_what_mmcv_gets(tmp_path, repo):
    package = tmp_path / "mmcv"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_ext.py").write_text("compiled = True")
    code = "import mmattn, mmcv._ext; print(mmcv._ext.compiled, hasattr(mmcv._ext, 'nms'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": os.pathsep.join([str(tmp_path), str(repo)])},
    )
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_carafe_naive_is_untouched_where_the_extension_is_compiled():
    from types import ModuleType, SimpleNamespace

    from mmattn.bridge.carafe_naive import allow_any_device

    module = ModuleType("mmcv.ops.carafe")
    module.CARAFENaiveFunction = type("CARAFENaiveFunction", (), {"backward": "mmcv's own"})
    module.ext_module = SimpleNamespace(__spec__=SimpleNamespace(origin="/mmcv/_ext.so"))
    allow_any_device(module)
    assert module.CARAFENaiveFunction.backward == "mmcv's own"
