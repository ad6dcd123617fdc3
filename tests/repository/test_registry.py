"""The promises of the registry: our names work everywhere, and importing us costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "projects"
# A system is a folder, a lone block a single file.
PROJECTS = sorted(
    [p.parent.name for p in FOLDER.glob("*/__init__.py")]
    + [p.stem for p in FOLDER.glob("*.py") if p.stem != "__init__"]
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


# Prints, for every project, which projects are loaded once it is imported by itself, and which once
# the table of contents is imported without it. Each import happens in a fork of a process in which
# nothing of ours but the registry, and all that is slow to import, has been loaded.
_ALONE_AND_WITHOUT = """
import importlib, json, os, pathlib, sys, types
import mmattn.registry, mmdet.models, mmseg.models

folder, projects = pathlib.Path({folder!r}), {projects!r}
assert not any(m.startswith(("mmattn.projects", "mmattn.layers")) for m in sys.modules)


def loaded(contents, *names):
    read, write = os.pipe()
    if os.fork():
        os.close(write)
        with open(read) as answer:
            return json.load(answer)
    try:
        toc = types.ModuleType("mmattn.projects")
        toc.__path__, toc.__package__ = [str(folder)], "mmattn.projects"
        sys.modules["mmattn.projects"] = toc
        exec(contents, vars(toc))
        for name in names:
            importlib.import_module("mmattn.projects." + name)
        ours = [m.split(".") for m in sys.modules if m.startswith("mmattn.projects.")]
        inside = sorted({{parts[2] for parts in ours}})
    except Exception as error:
        inside = repr(error)
    with open(write, "w") as answer:
        json.dump(inside, answer)
    os._exit(0)


lines = (folder / "__init__.py").read_text().splitlines()
alone = {{p: loaded("", p) for p in projects}}
without = {{
    p: loaded("\\n".join(line for line in lines if f" import {{p}} as" not in line))
    for p in projects
}}
print(json.dumps([alone, without]))
"""


@pytest.fixture(scope="module")
def alone_and_without() -> list[dict[str, list[str]]]:
    code = _ALONE_AND_WITHOUT.format(folder=str(FOLDER), projects=PROJECTS)
    return json.loads(run(code).splitlines()[-1])


@pytest.mark.parametrize("project", PROJECTS)
def test_project_imports_alone(project: str, alone_and_without) -> None:
    """One project's import needs no other project, nor brings one in."""
    assert alone_and_without[0][project] == [project]


@pytest.mark.parametrize("project", PROJECTS)
def test_the_others_import_without_a_project(project: str, alone_and_without) -> None:
    """The import half of the promise that a system can be deleted."""
    assert alone_and_without[1][project] == [other for other in PROJECTS if other != project]


def test_every_project_is_in_the_table_of_contents() -> None:
    text = (FOLDER / "__init__.py").read_text()
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
