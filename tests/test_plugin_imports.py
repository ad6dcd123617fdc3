"""A plugin whose package is gone does not break the look-up of other names."""

from __future__ import annotations

import pytest

from mmattn import plugin_imports
from mmattn.registry import MODELS


def test_a_plugin_of_a_missing_parent_leaves_other_names_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plugin_imports, "_failures", {})
    plugin_imports.import_plugin("no_such_package.plugin")
    assert MODELS.get("NoSuchBlock") is None
    assert MODELS.get("mmattn.SimAM") is not None
    (error,) = plugin_imports.import_failures()
    assert "no_such_package" in str(error)


@pytest.mark.parametrize(("installed", "package"), [(True, "onedl-mmdetection"), (False, "mmdet")])
def test_the_fix_does_not_mix_the_families(
    installed: bool, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if not installed:
            raise plugin_imports.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(plugin_imports, "version", version)
    error = ModuleNotFoundError("No module named 'mmdet'", name="mmdet")
    monkeypatch.setattr(plugin_imports, "_failures", {"mmattn.projects.toy": error})
    (explained,) = plugin_imports.import_failures()
    assert f"pip install {package})" in str(explained)
