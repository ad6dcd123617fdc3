"""Promise: a hook is found by its name, named after its file, and listed in docs/hooks.md."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from mmengine.hooks import Hook

import mmattn.engine.hooks as hooks
from mmattn.registry import HOOKS

FILES = sorted(file.stem for file in Path(hooks.__file__).parent.glob("[!_]*.py"))


@pytest.mark.parametrize("file", FILES)
def test_each_file_has_one_registered_hook_of_its_name(file: str) -> None:
    name = "".join(word.capitalize() for word in file.split("_")) + "Hook"
    (exported,) = [one for one in hooks.__all__ if one == name]
    hook = getattr(hooks, exported)
    assert issubclass(hook, Hook)
    assert HOOKS.get(f"mmattn.{exported}") is hook
    assert hook.__module__.rpartition(".")[2] == file


def test_the_guide_lists_every_hook_once(repo: Path) -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (repo / "docs/hooks.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(hooks.__all__)
    assert all(inspect.getdoc(getattr(hooks, name)) for name in rows)
