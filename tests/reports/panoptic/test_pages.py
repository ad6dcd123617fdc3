"""Reports on panoptic runs: every section that has data, images that can be left out."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from mmattn.reports.panoptic import PanopticRun, write_html_report, write_markdown_report
from mmattn.reports.panoptic.figures import FIGURES
from mmattn.reports.panoptic.numbers import DrawnMap
from mmattn.reports.panoptic.segment_painter import (
    describe,
    draw_sheet,
    draw_tiles,
    paint_outcome,
    paint_segments,
)
from tests.reports.detection.test_pages import outline_of


def test_the_page_says_what_the_run_found(run: PanopticRun, tmp_path: Path) -> None:
    outline = outline_of(write_html_report(run, tmp_path / "report.html"))
    assert all(source.startswith("data:image/") for source in outline.sources)
    text = " ".join(outline.text)
    for title in (
        *("Panoptic quality per class on 12 validation images", "Quality and segments"),
        *("Worst images", "Results per class: masks on 12", "Training", "What was run"),
        *("all things", "all stuff", "A run of <Mask2Former>", "A note.", "boundary PQ", "95 %:"),
    ):
        assert title in text, title
    assert f"{100 * run.numbers.value('PQ'):.1f} %" in text
    # Two figures, three tiles for each of the worst; then those of the masks, and two curves.
    masks = 5 + 2 * len(run.instances["segm"].worst)
    assert len(outline.sources) == len(FIGURES) + 3 * len(run.numbers.worst) + masks + 2


def test_a_section_appears_where_its_data_exist(run: PanopticRun, tmp_path: Path) -> None:
    plain = PanopticRun(title="Plain", numbers=run.numbers)
    text = " ".join(outline_of(write_html_report(plain, tmp_path / "report.html")).text)
    for absent in ("masks on", "Training", "What was run", "Model and environment", "None", "nan"):
        assert absent not in text, absent


def test_the_markdown_page_and_its_files(run: PanopticRun, tmp_path: Path) -> None:
    page = write_markdown_report(run, tmp_path / "out")
    lines = [" ".join(line.split()) for line in page.read_text(encoding="utf-8").splitlines()]
    for line in (
        "# A run of <Mask2Former>",
        "## Panoptic quality per class on 12 validation images",
        "| class | segments | TP | FP | FN | PQ | SQ | RQ | bPQ | bSQ | bRQ | IoU | Acc |",
        "| unicorn | 0 | 0 | 0 | 0 | - | - | - | - | - | - | - | - |",
        "![Panoptic quality per class](panoptic_quality.png)",
        "![worst images](worst_panoptic.jpg)",
        "## Results per class: masks on 12 validation images",
        "## Training",
    ):
        assert line in lines, line
    total = next(line for line in lines if line.startswith("| **all** |")).split("|")
    assert float(total[6]) == round(100 * run.numbers.value("PQ"), 1)
    for file in ("panoptic_quality.png", "panoptic_segments.png", "worst_panoptic.jpg"):
        assert cv2.imread(str(tmp_path / "out" / file)) is not None
    content = json.loads((tmp_path / "out/panoptic.json").read_text())
    assert content["groups"]["all"]["PQ"] == run.numbers.value("PQ")
    assert (tmp_path / "out/detection_segm.json").is_file()


def test_images_can_be_left_out(run: PanopticRun) -> None:
    for image in run.numbers.worst:
        with_image = draw_tiles(image, run.numbers)
        without = draw_tiles(image, run.numbers, with_image=False)
        assert len({tile.shape for tile in (*with_image, *without)}) == 1
        assert not np.array_equal(with_image[0], without[0])
    assert draw_sheet(run.numbers, with_images=False).shape[1] == 3 * 400 + 2 * 8
    assert "PQ" in describe(run.numbers.worst[0])


def drawn(index: list, labels: list[int], wrong: list[bool] | None = None) -> DrawnMap:
    flags = np.zeros(len(labels), bool)
    return DrawnMap(
        np.array(index), np.array(labels), flags if wrong is None else np.array(wrong), flags
    )


def test_objects_of_a_class_differ_and_void_stays() -> None:
    image = np.full((1, 4, 3), 200, np.uint8)
    painted = paint_segments(image, drawn([[0, 1, 2, 3]], [0, 0, 1]), [(90, 60, 30)] * 2, [1, 0])
    assert painted[0, 0].tolist() == [200, 200, 200]
    assert len({tuple(pixel) for pixel in painted[0, 1:3].tolist()}) == 2
    stuff = paint_segments(image, drawn([[1, 1, 2, 2]], [1, 1]), [(90, 60, 30)] * 2, [1, 0])
    assert stuff[0, 0].tolist() == stuff[0, 3].tolist()


def test_the_outcome_has_the_colours_of_right_missed_and_false() -> None:
    image = np.full((1, 4, 3), 128, np.uint8)
    truth = drawn([[1, 2, 2, 0]], [0, 0], [False, True])
    found = drawn([[1, 0, 2, 0]], [0, 0], [False, True])
    right, missed, false, void = paint_outcome(image, truth, found)[0].astype(int)
    assert right[1] > right[0] and missed[0] > missed[2] and false[0] > false[1]
    assert void.tolist() == [128, 128, 128]
