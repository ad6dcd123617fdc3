"""mmengine finds packages where ``pkg_resources`` does not exist."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType

import pytest

from mmattn.bridge.package_lookup import patch_package_lookup

ORIGINAL = """
def is_installed(package):
    import pkg_resources
    return True

def get_installed_path(package):
    from pkg_resources import get_distribution
    return get_distribution(package).location

def package2module(package):
    from pkg_resources import get_distribution
    return get_distribution(package).get_metadata('top_level.txt')
"""
FORK = """
def is_installed(package): return 'own'
def get_installed_path(package): return 'own'
def package2module(package): return 'own'
"""


def module_of(code: str) -> ModuleType:
    module = ModuleType("package_utils")
    exec(code, module.__dict__)
    patch_package_lookup(module)
    return module


def test_distributions_and_packages_are_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lookup_module").mkdir()
    (tmp_path / "lookup_module" / "__init__.py").touch()
    info = tmp_path / "lookup_distribution-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lookup-distribution\nVersion: 1\n")
    (info / "top_level.txt").write_text("lookup_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    utils = module_of(ORIGINAL)
    for name in ("lookup-distribution", "lookup_module"):
        assert utils.is_installed(name)
        assert Path(utils.get_installed_path(name)) == tmp_path / "lookup_module"
    assert utils.package2module("lookup-distribution") == "lookup_module"


def test_what_is_not_there_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lookup_namespace").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    utils = module_of(ORIGINAL)
    assert not utils.is_installed("no_such_package_anywhere")
    assert not utils.is_installed("lookup_namespace")
    with pytest.raises(PackageNotFoundError, match="no_such_package_anywhere"):
        utils.get_installed_path("no_such_package_anywhere")
    with pytest.raises(RuntimeError, match="lookup_namespace is a namespace package"):
        utils.get_installed_path("lookup_namespace")


def test_a_lookup_without_pkg_resources_stays() -> None:
    assert module_of(FORK).is_installed("anything") == "own"
    assert module_of(FORK).get_installed_path("anything") == "own"


def test_no_lookup_of_the_installed_mmengine_needs_pkg_resources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mmseg
    from mmengine.utils import get_installed_path, is_installed

    monkeypatch.setitem(__import__("sys").modules, "pkg_resources", None)
    assert is_installed("mmseg")
    assert Path(get_installed_path("mmseg")) == Path(mmseg.__file__).parent
