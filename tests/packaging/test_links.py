"""The committed links that make one package of the top-level folders."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

LINKS = {
    "mmattn/ops": "../custom_ops",
    "mmattn/projects": "../projects",
    "mmattn/.mim/configs": "../../configs",
    "mmattn/.mim/tools": "../../tools",
    "mmattn/.mim/model-index.yml": "../../model-index.yml",
}


@pytest.mark.parametrize("link", LINKS)
def test_is_a_relative_link(link: str, repo: Path) -> None:
    path = repo / link
    assert path.is_symlink(), f"{link} was checked out as a file: set git config core.symlinks true"
    assert str(path.readlink()) == LINKS[link]
    assert path.exists()


def test_git_stores_links(repo: Path) -> None:
    if shutil.which("git") is None or not (repo / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-s", *LINKS], cwd=repo, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(listed) == len(LINKS)
    assert all(line.startswith("120000 ") for line in listed)
