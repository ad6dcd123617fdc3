"""The report: one file with everything inside, whatever a run's names and numbers are."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from mmattn.export.accuracy import ClassIoUs
from mmattn.reports.charts import Line, line_chart, smoothed, ticks
from mmattn.reports.overlays import blend, colour_map, complete_palette, data_uri
from mmattn.reports.semantic import (
    Sample,
    SegmentationRun,
    count,
    duration,
    write_segmentation_report,
)
from mmattn.reports.story import Step

NAN = float("nan")
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


@pytest.fixture
def run(tmp_path) -> SegmentationRun:
    scalars = tmp_path / "scalars.json"
    records = [{"lr": 0.1, "loss": 3.0 / step, "step": step} for step in range(1, 60)]
    records += [{"mIoU": 10.0 * i, "step": 20 * i} for i in range(1, 4)]
    scalars.write_text("\n".join(map(json.dumps, records)))
    classes = ("<sky>", "a & b", "road")
    rng = np.random.default_rng(0)
    maps = [rng.integers(0, 3, (20, 30)) for _ in range(3)]
    row = {"name": "odd", "batch": 1, "height": 21, "width": 31, "images": 4}
    row |= {"max_difference": 1e-6, "max_logit": 2.0, "relative": 5e-7, "agreement": 0.99999}
    bad = row | {"name": "larger", "max_difference": None, "relative": None, "agreement": 0.5}
    return SegmentationRun(
        title="A run of <CCNet>",
        summary="Summary.",
        palette=[(10, 20, 30)],
        untrained=ClassIoUs(classes, (1.0, 2.0, NAN), 5.0),
        trained=ClassIoUs(classes, (71.0, 82.0, NAN), 90.0),
        exported=ClassIoUs(classes, (71.0, 82.0, NAN), 90.0),
        num_images=4,
        scalars=[scalars],
        samples=[Sample(rng.integers(0, 256, (20, 30, 3), np.uint8), *maps)],
        parity={"runtime": "onnxruntime 1", "tolerance": 1e-4, "min_agreement": 0.999,
                "notes": ["A note."], "rows": [row, bad]},
        parameters=233291,
        flops=150_000_000,
        input_shape=(1, 3, 20, 30),
        file_bytes=946797,
        steps=[Step("Train", "python tools/train.py --cfg-options a='<b>'", 65.0)],
        environment={"versions": {"torch": "2"}, "backends": {"mmcv": "bridge"},
                     "machine": {"CPU cores": "2"}},
    )  # fmt: skip


def test_page_needs_nothing_from_outside(run, tmp_path) -> None:
    page = write_segmentation_report(run, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "://" not in page, "no address of another file or host"
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    assert len(outline.sources) == 4 and all(s.startswith("data:image/") for s in outline.sources)
    assert not re.search(r"@import|url\(|<script|<link", page)


def test_page_says_what_the_run_found(run, tmp_path) -> None:
    page = write_segmentation_report(run, tmp_path / "report.html").read_text(encoding="utf-8")
    outline = Outline()
    outline.feed(page)
    text = " ".join(outline.text)
    names = ("A run of <CCNet>", "<sky>", "a & b", "A note.", "python tools/train.py", "bridge")
    figures = ("76.5 %", "untrained 1.5 %", "233 k", "150 MFLOPs", "absent")
    for expected in (*names, *figures):
        assert expected in text, expected
    assert page.count('class="ok"') == 1 and page.count('class="bad"') == 1


def test_chart_shows_finite_points_inside_its_frame() -> None:
    svg = line_chart([Line([(0, 1.0), (1, NAN), (2, 3.0)])], x_label="x", y_label="y")
    (points,) = re.findall(r'points="([^"]+)"', svg)
    coordinates = [tuple(map(float, point.split(","))) for point in points.split()]
    assert len(coordinates) == 2
    assert all(0 <= x <= 520 and 0 <= y <= 280 for x, y in coordinates)
    assert coordinates[0][1] > coordinates[1][1], "larger values are higher up"
    assert "No values" in line_chart([Line([])], x_label="x", y_label="y")


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 97.3), (-2, 5), (3, 3), (0, 1e-5)])
def test_ticks_are_few_and_cover_the_range(low, high) -> None:
    found = ticks(low, high)
    assert found[0] <= low and found[-1] >= high
    assert 2 <= len(found) <= 8 and found == sorted(set(found))


def test_smoothing_averages_the_past() -> None:
    assert smoothed([(0, 2.0), (1, 4.0), (2, 9.0)], 2) == [(0, 2.0), (1, 3.0), (2, 6.5)]


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
    ("seconds", "text"), [(0.42, "0.4 s"), (59.6, "60 s"), (150, "2 min 30 s")]
)
def test_duration(seconds, text) -> None:
    assert duration(seconds) == text
