"""The promises of the registry: our names work everywhere, and importing us costs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECTS = sorted(
    p.parent.name for p in (Path(__file__).parents[2] / "projects").glob("*/__init__.py")
)


def run(code: str) -> str:
    """The output of ``code`` in a fresh interpreter that starts outside the checkout."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_mmattn_is_light() -> None:
    heavy = "{'torch', 'numpy', 'mmengine', 'mmcv', 'cv2', 'rich', 'matplotlib'}"
    out = run(f"import sys, mmattn; print(sorted({heavy} & set(sys.modules)))")
    assert out.strip() == "[]"


def test_names_resolve_with_nothing_of_ours_imported() -> None:
    """mmengine finds scope ``mmattn`` by itself, from its root and from a sibling scope."""
    out = run(
        "from mmengine.registry import MODELS, DefaultScope\n"
        "print(MODELS.get('mmattn.CCHead').__name__)\n"
        "from mmdet.registry import MODELS as DET\n"
        "from mmseg.registry import MODELS as SEG\n"
        "print(DET.get('mmattn.CrissCrossAttention') is SEG.get('mmattn.CrissCrossAttention'))\n"
    )
    assert out.split() == ["CCHead", "True"]


@pytest.mark.parametrize("project", PROJECTS)
def test_project_imports_alone(project: str) -> None:
    """One project's import needs no other project to have been imported first."""
    out = run(
        "import sys, mmattn, types\n"
        "from importlib import import_module\n"
        # An empty table of contents: the other projects stay out.
        "import mmattn.registry\n"
        "toc = types.ModuleType('mmattn.projects')\n"
        f"toc.__path__ = [{str(Path(__file__).parents[2] / 'projects')!r}]\n"
        "sys.modules['mmattn.projects'] = toc\n"
        f"import_module('mmattn.projects.{project}')\n"
        "print(sorted({m.split('.')[2] for m in sys.modules if m.startswith('mmattn.projects.')}))"
    )
    assert out.strip() == f"['{project}']"


def test_every_project_is_in_the_table_of_contents() -> None:
    text = (Path(__file__).parents[2] / "projects" / "__init__.py").read_text()
    for project in PROJECTS:
        assert f"from . import {project} as {project}" in text


@pytest.mark.parametrize("folder", ["projects", "custom_ops"])
def test_folders_refuse_the_wrong_name(folder: str, repo: Path) -> None:
    """Imported under its folder's name, a project would register everything a second time."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}"], capture_output=True, text=True, cwd=repo
    )
    assert done.returncode != 0
    assert "ImportError: import mmattn." in done.stderr
