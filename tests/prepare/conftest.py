"""A catalog whose datasets are tiny, and commands that are run as a user does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mmattn.cli.data import main
from mmattn.prepare.catalog import CATALOG
from tests.support.tiny_archives import Tiny, tiny_dataset


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Tiny]:
    """Put a tiny dataset into the catalog in the place of the real one; returns it."""

    def put(name: str) -> Tiny:
        found = tiny_dataset(name)
        monkeypatch.setitem(CATALOG, name, found.card)
        return found

    return put


@pytest.fixture
def archives(tmp_path: Path, tiny: Callable[[str], Tiny]) -> Callable[[str], Path]:
    """Write the archives of a tiny dataset into a folder, as a user has downloaded them."""

    def write(name: str) -> Path:
        folder = tmp_path / "downloads" / name
        folder.mkdir(parents=True)
        for file, content in tiny(name).files.items():
            (folder / file).write_bytes(content)
        return folder

    return write


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run ``mmattn data``; returns the exit code, the output and the errors."""

    def command(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return command
