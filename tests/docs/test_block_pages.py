"""Promise: every block has a page that says what its code says."""

from __future__ import annotations

import re

import pytest

from tests.support import block_pages, block_table


def written(name: str) -> str:
    file = block_pages.FOLDER / name
    assert file.is_file(), f"run {block_pages.COMMAND}"
    return file.read_text(encoding="utf-8")


def test_every_block_has_a_page_and_nothing_else_has() -> None:
    names = {file.name for file in block_pages.FOLDER.glob("*.md")}
    assert names == {"README.md", *(f"{name}.md" for name in block_table.blocks())}
    assert written("README.md") == block_pages.index(block_table.blocks())


@pytest.mark.parametrize("name", block_table.blocks())
def test_a_page_says_what_the_code_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for its costs, which take a while to count."""
    text = written(f"{name}.md")
    costs = re.search(r"## Cost\n\n(.*?)\n\n## ", text, re.DOTALL)
    assert costs is not None
    monkeypatch.setattr(block_pages, "cost", lambda *_: costs[1])
    assert text == block_pages.page(name, block_table.blocks()[name]), block_pages.COMMAND


@pytest.mark.slow
def test_costs_are_those_of_the_blocks() -> None:
    for name, cls in block_table.blocks().items():
        assert block_pages.cost(name, cls) in written(f"{name}.md"), name
