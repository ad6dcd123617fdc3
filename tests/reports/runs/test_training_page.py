"""Promise: a training's page shows what it left, as far as it came, and never measures anything."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mmattn.reports.curves import history_of_run, run_minutes
from mmattn.reports.runs import write_training_report
from mmattn.reports.runs.left import read_training
from tests.support.left_behind import FACTS

SECTIONS = (
    *("Curves", "Results per class", "Confusion", "Calibration", "Worst images", "Best images"),
    *("More plots of the evaluation", "Training images", "Dataset", "Model", "Speed and memory"),
    *("Warnings", "Command and config", "Files", "Environment"),
)
_VOID = {"meta", "img", "br"}


class Nesting(HTMLParser):
    """Checks that tags nest, that every image is inside the page and says what it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images = 0

    def handle_starttag(self, tag, attrs) -> None:
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "img":
            values = dict(attrs)
            assert values["src"].startswith("data:image/") and values["alt"]
            self.images += 1
        if tag == "svg":
            assert dict(attrs)["aria-label"]

    def handle_startendtag(self, tag, attrs) -> None:
        pass

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def page_of(folder: Path) -> str:
    return write_training_report(read_training(folder)).read_text("utf-8")


def test_everything_that_was_left_is_shown(left_behind) -> None:
    page = page_of(left_behind())
    nesting = Nesting()
    nesting.feed(page)
    assert nesting.open == [] and nesting.images == 4
    assert re.findall(r"<h2>(.*?)</h2>", page) == list(SECTIONS)
    assert page.count("<li><a href=") == len(SECTIONS)
    assert not re.search(r"://|@import|url\(|<script|<link", page)
    for expected in (
        *("best mIoU", "iteration 20, the last: 45", "71.25", "1.23 M", "2.000 GFLOPs", "321 MiB"),
        *("0.5 s", "20% of it waiting for data", "a=&#x27;&lt;b&gt;&#x27;", "ab" * 32, "&lt;b&gt;"),
        *("The first warning\nof two lines", "An error", "the whole config, 1 lines"),
    ):
        assert expected in page, expected
    assert "The prefix is not set" not in page, "nobody can act on it"


def test_the_time_of_a_training_is_that_of_its_log_in_a_copy_too(left_behind, tmp_path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(left_behind(), copy, copy_function=shutil.copyfile)
    assert "<b>90 s</b>" in page_of(copy)
    assert history_of_run(copy, {})["training_minutes"] == pytest.approx(1.5)
    next(copy.glob("*/*.log")).unlink()
    assert run_minutes(next(copy.glob("*/vis_data"))) is None
    assert history_of_run(copy, {})["training_minutes"] is None


def test_a_run_that_kept_no_facts_has_a_page_all_the_same(left_behind) -> None:
    """As one of plain mmengine, or of an earlier version."""
    page = page_of(left_behind(facts=None))
    assert "<h2>Curves</h2>" in page and "<h2>Model</h2>" not in page
    assert "has not ended" not in page


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        ({"how": "failed", "step": 3, "error": "ValueError: <x>"}, "failed after step 3: ValueEr"),
        ({"how": "interrupted", "step": 3}, "interrupted after step 3"),
        (None, "has not ended, or was killed"),
    ],
)
def test_a_page_says_first_that_the_training_did_not_end_well(left_behind, ended, said) -> None:
    page = page_of(left_behind(FACTS | {"ended": ended}))
    assert said in page and page.index("banner") < page.index('class="cards"')


def test_a_killed_run_whose_last_line_is_cut_off_is_read(left_behind) -> None:
    folder = left_behind()
    scalars = next(folder.glob("*/vis_data/scalars.json"))
    scalars.write_text(scalars.read_text() + '{"lr": 0.1, "lo')
    assert "best mIoU" in page_of(folder)
    scalars.write_text(scalars.read_text() + '\n{"lr": 0.1, "loss": 1.0, "step": 41}\n')
    with pytest.raises(ValueError, match="Unterminated"):
        page_of(folder)


def test_starts_of_a_resumed_training_are_one(left_behind) -> None:
    folder = left_behind()
    later = folder / "20260102_000000"
    shutil.copytree(folder / "20260101_000000", later)
    (later / "20260101_000000.log").rename(later / f"{later.name}.log")
    config = later / "vis_data" / "config.py"
    assert len(read_training(folder).starts) == 1, "it did not resume"
    config.write_text("resume = True\n" + config.read_text())
    left = read_training(folder)
    assert [start.folder.name for start in left.starts] == ["20260101_000000", "20260102_000000"]
    assert left.seconds == 180
    assert "started 2 times" in page_of(folder)
