"""The examples in docstrings are run."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"mmattn": ROOT / "mmattn", "mmattn.ops": ROOT / "custom_ops"}
FOLDERS["mmattn.projects"] = ROOT / "projects"


def modules_with_examples() -> list[str]:
    names = []
    for package, folder in FOLDERS.items():
        for file in sorted(folder.rglob("*.py")):  # the links ops and projects are not followed
            lines = file.read_text(encoding="utf-8").splitlines()
            if any(">>> " in line and "+SKIP" not in line for line in lines):
                parts = file.relative_to(folder).with_suffix("").parts
                names.append(".".join((package, *(p for p in parts if p != "__init__"))))
    return names


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_of_docstrings_print_what_they_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # for examples that write files
    module = importlib.import_module(name)
    results = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert results.attempted, f"{name} has >>> outside of docstrings"
    assert not results.failed
