"""Reports on detectors: every section that has data, images that can be left out, valid pages."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from mmattn.reports.detection import DetectionRun, write_html_report, write_markdown_report
from mmattn.reports.detection.box_painter import draw_sheet, draw_tiles
from mmattn.reports.overlays import data_uri

VOID = {"meta", "img", "br", "hr", "input", "link"}


class Outline(HTMLParser):
    """Checks that tags nest, and collects texts and what a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.sources += [
            value
            for name, value in attrs
            if name in ("src", "href", "srcset") and not value.startswith("#")  # of the page itself
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text.append(data)


def outline_of(page) -> Outline:
    outline = Outline()
    outline.feed(page.read_text(encoding="utf-8"))
    assert outline.open == []
    return outline


def test_the_page_says_what_the_run_found(run, tmp_path) -> None:
    outline = outline_of(write_html_report(run, tmp_path / "report.html"))
    assert all(source.startswith("data:image/") for source in outline.sources)
    text = " ".join(outline.text)
    for title in (
        *("Results per class: boxes on 7", "Results per class: masks on 7"),
        *("Precision, recall and confidence: boxes", "Where objects are lost: masks"),
        *("Worst images: boxes", "Training", "What was run", "Model and environment"),
    ):
        assert title in text, title
    for said in ("A run of <YOLOX>", "40.0 to 60.0", "233 k", "A note.", "AP50 50.0 %"):
        assert said in text, said
    confidence = run.numbers["bbox"].confidence
    assert f"at IoU 0.5 and confidence {confidence:.3f}" in text
    # 5 figures of boxes and of masks, 2 images for each of the worst, 2 curves.
    worst = sum(len(numbers.worst) for numbers in run.numbers.values())
    assert len(outline.sources) == 2 * 5 + 2 * worst + 2


def test_a_section_appears_where_its_data_exist(run, tmp_path) -> None:
    plain = DetectionRun(title="Plain", numbers={"bbox": run.numbers["bbox"]})
    text = " ".join(outline_of(write_html_report(plain, tmp_path / "report.html")).text)
    for absent in ("masks", "Training", "What was run", "Model and environment", "None", "nan"):
        assert absent not in text, absent


@pytest.mark.slow
def test_the_markdown_page_and_its_files(run, tmp_path) -> None:
    page = write_markdown_report(run, tmp_path / "out")
    lines = [" ".join(line.split()) for line in page.read_text(encoding="utf-8").splitlines()]
    for line in (
        "# A run of <YOLOX>",
        "## Results per class: boxes on 7 validation images",
        "| class | images | objects | P | R | AP50 | AP | AP75 | APs | APm | APl |",
        "| cow | 0 | 0 | - | - | - | - | - | - | - | - |",
        "![Confusion matrix](confusion_segm.png)",
        "| error | number | points of AP50 if mended |",
        "![worst images](worst_bbox.jpg)",
        "![validation](curves_metrics.png)",
        "A note.",
    ):
        assert line in lines, line
    for file in (*page.parent.glob("*.png"), *page.parent.glob("*.jpg")):
        assert cv2.imread(str(file)) is not None, file
    content = json.loads((page.parent / "detection_bbox.json").read_text())
    numbers = run.numbers["bbox"]
    assert content == numbers.to_json()
    assert content["classes"]["cow"]["P"] is None and content["all"]["AP"] == 0.5
    assert np.array_equal(content["confusion"]["counts"], numbers.confusion)


def test_a_dataset_that_may_not_be_passed_on_shows_boxes_alone(run, tmp_path) -> None:
    boxes = run.numbers["bbox"]
    run = DetectionRun(title="Plain", numbers={"bbox": boxes})
    write_markdown_report(run, tmp_path / "out", maps_only=True)
    drawn = cv2.imread(str(tmp_path / "out/worst_bbox.jpg"))[..., ::-1].astype(int)
    difference = np.abs(drawn - draw_sheet(boxes, with_images=False)).mean()
    assert difference < 3 < np.abs(drawn - draw_sheet(boxes)).mean()
    outline = outline_of(write_html_report(run, tmp_path / "report.html", maps_only=True))
    for image in boxes.worst:
        with_image, plain = (
            {
                data_uri(tile, jpeg_quality=90)
                for tile in draw_tiles(image, boxes.classes, with_image=w)
            }
            for w in (True, False)
        )
        assert plain <= set(outline.sources) and not with_image & set(outline.sources)
