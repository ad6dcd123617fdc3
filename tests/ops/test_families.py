"""The doctor says which family of the OpenMMLab packages is installed, and warns of both."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmattn.ops import _families
from mmattn.ops._families import describe_families
from mmattn.ops.doctor import _machine


@pytest.fixture
def install(tmp_path: Path):
    """Makes distributions that are nothing but metadata; gives the path to search."""

    def make(**versions: str) -> list[str]:
        for name, version in versions.items():
            folder = tmp_path / f"{name}-{version}.dist-info"
            folder.mkdir()
            text = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
            (folder / "METADATA").write_text(text)
        return [str(tmp_path)]

    return make


def test_none(install) -> None:
    (line,) = describe_families(install(torch="2.15.0"))
    assert "none" in line


def test_the_forks(install) -> None:
    lines = describe_families(install(onedl_mmengine="0.10.12", onedl_mmcv="2.3.6"))
    assert lines == ["OpenMMLab packages, the forks: onedl-mmengine 0.10.12, onedl-mmcv 2.3.6"]


def test_the_originals_under_each_of_their_names(install) -> None:
    lines = describe_families(install(mmcv_lite="2.2.0", mmdet="3.3.0", mmsegmentation="1.2.2"))
    assert lines == [
        "OpenMMLab packages, the originals: mmcv-lite 2.2.0, mmdet 3.3.0, mmsegmentation 1.2.2"
    ]


def test_a_mixture_without_overlap_is_no_warning(install) -> None:
    forks, originals = describe_families(install(onedl_mmengine="0.10.12", mmdet="3.3.0"))
    assert "forks" in forks
    assert "originals" in originals


@pytest.mark.parametrize(
    ("pip", "command"),
    [
        (True, "python -m pip uninstall -y onedl-mmdetection mmdet && python -m pip install"),
        (False, "uv pip uninstall onedl-mmdetection mmdet && uv pip install"),
    ],
)
def test_both_are_a_warning_with_the_command_that_fixes_it(
    install, pip: bool, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = install(onedl_mmdetection="3.5.1", mmdet="3.3.0", onedl_mmcv="2.3.6")
    monkeypatch.setattr(_families.importlib.util, "find_spec", lambda name: pip or None)
    (warning,) = (line for line in describe_families(path) if line.startswith("WARNING"))
    assert "own the same folder, mmdet" in warning
    assert f"{command} --no-deps onedl-mmdetection==3.5.1" in warning


def test_the_doctor_says_it() -> None:
    """And for the packages that are really installed here, one family is all there is."""
    assert _machine()[-1].startswith("OpenMMLab packages, the ")
    assert not any(line.startswith("WARNING") for line in _machine())
