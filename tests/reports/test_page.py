"""The report: one file with everything inside, whatever a run's names and numbers are."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from mmattn.palette import complete_palette
from mmattn.reports import write_html_report
from mmattn.reports.number_formats import count, duration
from mmattn.reports.overlays import blend, colour_map, data_uri
from mmattn.reports.semantic.run import SegmentationRun

SECTIONS = (
    *("Predictions", "IoU per class", "Training", "Does the exported file compute the same?"),
    *("What was run", "Model and environment"),
)
VOID = {"meta", "img", "br", "hr", "input", "link"}


class Outline(HTMLParser):
    """Checks that tags nest, and collects what a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        pass

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text.append(data)


def test_page_needs_nothing_from_outside(run, tmp_path) -> None:
    page = write_html_report(run, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "://" not in page, "no address of another file or host"
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    inside = [source for source in outline.sources if source.startswith("#")]
    assert {f"#{name}" for name in re.findall(r'id="([^"]+)"', page)} == set(inside)
    images = [source for source in outline.sources if source not in inside]
    assert len(images) == 4 + 2 and all(s.startswith("data:image/") for s in images)
    assert not re.search(r"@import|url\(|<script|<link", page)


def test_page_says_what_the_run_found(run, tmp_path) -> None:
    page = write_html_report(run, tmp_path / "report.html").read_text(encoding="utf-8")
    outline = Outline()
    outline.feed(page)
    text = " ".join(outline.text)
    names = ("A run of <CCNet>", "<sky>", "a & b", "A note.", "mmattn train", "bridge")
    numbers = ("76.5 %", "untrained 1.5 %", "233 k", "150 MFLOPs", "absent")
    for expected in (*names, *numbers):
        assert expected in text, expected
    for title in SECTIONS:
        assert title in text, title
    assert page.count('class="ok"') == 1 and page.count('class="bad"') == 1


def test_a_section_appears_where_its_data_exist(run, tmp_path) -> None:
    """A normal training: no untrained network, no exported file, no timed steps."""
    plain = SegmentationRun(title="Plain", trained=run.trained, scalars=run.scalars)
    page = write_html_report(plain, tmp_path / "report.html").read_text(encoding="utf-8")
    outline = Outline()
    outline.feed(page)
    text = " ".join(outline.text)
    assert outline.open == []
    assert {title for title in SECTIONS if title in text} == {"IoU per class", "Training"}
    assert "76.5 %" in text and page.count("<img") == 2
    for absent in ("untrained", "onnxruntime", "torch", "parameters", "None"):
        assert absent not in text, absent
    alone = SegmentationRun(title="Alone", trained=run.trained, samples=run.samples)
    page = write_html_report(alone, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Training" not in page and page.count("<img") == 4
    shown = replace(run.samples[0], exported=None)
    alone = SegmentationRun(title="Alone", trained=run.trained, samples=[shown])
    page = write_html_report(alone, tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<img") == 3 and "prediction" in page


def test_colours_of_classes() -> None:
    palette = complete_palette([(255, 0, 0)], 4)
    assert len(set(palette)) == 4 and palette[0] == (255, 0, 0)
    painted = colour_map(np.array([[0, 255]]), palette)
    assert painted.tolist() == [[[255, 0, 0], [0, 0, 0]]]
    image = np.full((4, 4, 3), 200, np.uint8)
    flat = blend(image, np.zeros((4, 4), int), palette, opacity=0.5)
    assert (flat == flat[0, 0]).all(), "no border where there is one class"
    assert flat[0, 0].tolist() == [227, 100, 100]


def test_data_uri_keeps_flat_colours_exact() -> None:
    image = np.zeros((3, 5, 3), np.uint8)
    image[1] = (10, 200, 30)
    head, body = data_uri(image).split(",")
    assert head == "data:image/png;base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(body), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded[..., ::-1], image)


@pytest.mark.parametrize(
    ("number", "text"), [(929139, "929 k"), (12, "12"), (1.5e9, "1.5 G"), (0, "0")]
)
def test_count(number, text) -> None:
    assert count(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (59.6, "60 s"), (150, "2 min 30 s"), (179.8, "3 min 0 s")],
)
def test_duration(seconds, text) -> None:
    assert duration(seconds) == text
