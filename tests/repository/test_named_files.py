"""Files that the guides name are there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = "benchmarks|configs|custom_ops|mmattn|projects|tests|tools"
NAMED = re.compile(rf"(?<![\w/-])(?:{FOLDERS})/[\w/.-]+\.(?:py|md|sh|txt|json)\b")
#: Files that a reader is told to write, or a placeholder for several.
TO_BE_WRITTEN = re.compile(r"my_op|my_config|NAME|contrast_gate|/name(_convert)?\.py|COMMAND")


def guides() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not listed:  # a source archive has no git
        pytest.skip("not a checkout")
    return [ROOT / name for name in listed]


def test_files_named_in_guides_exist() -> None:
    missing = [
        f"{page.relative_to(ROOT)} names {name}"
        for page in guides()
        if page.name not in ("CHANGELOG.md", "migrate.md")  # tell of the past, and of others
        for name in NAMED.findall(page.read_text(encoding="utf-8"))
        if not TO_BE_WRITTEN.search(name) and not (ROOT / name).exists()
    ]
    assert not missing


def test_a_name_is_found() -> None:
    assert NAMED.findall("see `tests/io/test_load.py` and (docs/x.md)") == ["tests/io/test_load.py"]
