"""Promise: docs/models.md and the READMEs' tables are what the metafiles say."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmattn.config import model_index
from tests.support import models_page


def test_the_pages_are_up_to_date() -> None:
    assert models_page.stale() == [], models_page.COMMAND


def test_every_model_is_on_the_page_once() -> None:
    text = models_page.PAGE.read_text("utf-8")
    for entry in model_index():
        assert text.count(f"| [{entry.name}](") == 1, entry.name
        assert not entry.alias or f"short `{entry.alias}`" in text


def test_numbers_of_the_authors_are_apart_from_ours_and_called_theirs() -> None:
    lines = models_page.PAGE.read_text("utf-8").splitlines()
    (row,) = (line for line in lines if "[bevanet_2xb6-500e_cityscapes-1024x1024]" in line)
    cells = row.split(" | ")
    assert cells[4].startswith("81.0 mIoU ([1], row BEVANet: with ImageNet weights")
    assert cells[5] == "", "nothing was measured here"
    assert "Published by: [1] the authors' README, Model (Cityscapes); " in "\n".join(lines)


@pytest.mark.parametrize("readme", models_page.READMES, ids=lambda path: path.name)
def test_a_changed_table_is_found(readme: Path, monkeypatch, tmp_path: Path) -> None:
    changed = tmp_path / readme.name
    changed.write_text(readme.read_text("utf-8").replace("66.36", "67.36", 1), "utf-8")
    monkeypatch.setattr(models_page, "READMES", {changed: models_page.READMES[readme]})
    (found,) = models_page.stale()
    assert found.endswith(readme.name)


def test_readmes_of_systems_have_their_published_numbers() -> None:
    names = {file.parent.name for file in models_page.written()}
    assert {"bevanet", "dynamic_head", "nat", "yolov12"} <= names


def test_cells_of_the_readmes_are_short() -> None:
    """The table fits a page; what is long stands in docs/models.md."""
    for language in ("en", "zh"):
        for row in models_page.readme_table(language).splitlines():
            for cell in row.strip("| ").split(" | "):
                assert len(models_page.shown(cell)) <= 70, cell
