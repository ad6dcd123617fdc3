"""mmdet and mmseg take an mmcv newer than they ask for, and no other; the log says so."""

from __future__ import annotations

import importlib
import itertools
import sys
from pathlib import Path

import mmcv
import mmengine.logging
import pytest

from mmattn.bridge._import_hooks import when_importing
from mmattn.bridge.version_checks import CHECKING, patch_version_check

PACKAGE = """
import mmcv
from mmengine.utils import digit_version

__version__ = '3.3.0'
assert digit_version('2.0.0rc4') <= digit_version(mmcv.__version__) < digit_version('2.2.0'), \\
    f'MMCV=={mmcv.__version__} is used but incompatible. Please install mmcv<2.2.0.'
seen = mmcv.__version__
"""
_numbers = itertools.count()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(mmengine.logging, "print_log", lambda text, **rest: lines.append(text))
    return lines


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a package and makes the bridge wait for it; gives its name."""

    def write(code: str = PACKAGE) -> str:
        name = f"checks_versions_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        when_importing(name, patch_version_check)
        return name

    return write


def test_a_newer_mmcv_passes_and_the_log_says_so(package, logged, monkeypatch) -> None:
    monkeypatch.setattr(mmcv, "__version__", "2.2.0")
    name = package()
    module = importlib.import_module(name)
    assert module.seen == "2.1.0"
    assert mmcv.__version__ == "2.2.0", "mmcv gives its own version to everything else"
    (line,) = logged
    assert f"{name} 3.3.0 asks for an older mmcv than 2.2.0" in line


def test_an_accepted_mmcv_is_none_of_our_business(package, logged, monkeypatch) -> None:
    monkeypatch.setattr(mmcv, "__version__", "2.0.1")
    assert importlib.import_module(package()).seen == "2.0.1"
    assert logged == []


@pytest.mark.parametrize("version", ["1.7.2", "3.0.0"])
def test_an_mmcv_of_another_major_version_fails_as_ever(
    package, logged, monkeypatch, version
) -> None:
    monkeypatch.setattr(mmcv, "__version__", version)
    name = package()
    with pytest.raises(AssertionError, match=f"MMCV=={version}"):
        importlib.import_module(name)
    assert name not in sys.modules
    assert logged == []


def test_other_assertions_fail_as_ever(package, logged, monkeypatch) -> None:
    monkeypatch.setattr(mmcv, "__version__", "2.2.0")
    name = package("raise AssertionError('MMEngine==2.0.0 is used but incompatible')")
    with pytest.raises(AssertionError, match="MMEngine"):
        importlib.import_module(name)


def test_mmdet_and_mmseg_are_the_packages_that_check() -> None:
    assert set(CHECKING) == {"mmdet", "mmseg"}
    for name in CHECKING:
        assert importlib.import_module(name).__version__
