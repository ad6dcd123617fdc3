"""Figures of a detector: text that does not overlap, any number of classes, nothing to show."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from mmattn.reports.detection.box_painter import (
    MAX_DRAWN,
    _free_place,
    _meet,
    describe,
    draw_sheet,
    draw_tiles,
)
from mmattn.reports.detection.figures import FIGURES
from mmattn.reports.detection.numbers import DetectionNumbers, DrawnObject, WorstImage
from mmattn.reports.painter import OUTCOMES
from tests.support.coco_cases import simple_case

from .conftest import numbers_of


def many_classes(numbers: DetectionNumbers, count: int) -> DetectionNumbers:
    """The same evaluation with classes of long names, copied."""
    rows = np.arange(count) % len(numbers.classes)
    counts = np.random.default_rng(0).integers(0, 90_000, (count + 1, count + 1))
    return replace(
        numbers,
        classes=tuple(f"traffic light number {index}" for index in range(count)),
        table=numbers.table[rows],
        precision=numbers.precision[rows],
        f1=numbers.f1[rows],
        confusion=counts,
    )


@pytest.mark.parametrize("count", [1, 4, 20, 80])
@pytest.mark.parametrize("name", FIGURES)
def test_labels_of_an_axis_do_not_overlap(numbers, name: str, count: int) -> None:
    axes = FIGURES[name][1](many_classes(numbers["bbox"], count))
    axes.figure.draw_without_rendering()
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        boxes = [label.get_window_extent() for label in labels if label.get_text()]
        # Slanted labels have large frames around little text.
        if labels and labels[0].get_rotation() not in (0, 90):
            continue
        for first, second in itertools.pairwise(boxes):
            assert not first.overlaps(second), name
    texts = [text.get_window_extent() for text in axes.texts]
    if name != "confusion" or count < 80:
        for first, second in itertools.combinations(texts, 2):
            assert not first.overlaps(second), name
    for legend in axes.figure.legends:
        assert legend.get_window_extent().x1 <= axes.figure.bbox.x1


@pytest.mark.parametrize("name", FIGURES)
def test_an_evaluation_of_nothing_can_be_drawn(name: str) -> None:
    numbers = numbers_of(*simple_case([], []), {})
    FIGURES[name][1](numbers).figure.draw_without_rendering()
    assert numbers.worst == () and numbers.absent == set(numbers.classes)


def test_each_outcome_has_its_colour(numbers) -> None:
    right, missed, false = (colour for _, colour in OUTCOMES)
    objects = (DrawnObject(0, (5, 5, 30, 30), True), DrawnObject(0, (60, 60, 30, 30), False))
    found = (
        DrawnObject(0, (5, 5, 30, 30), True, 0.9),
        DrawnObject(0, (5, 70, 20, 20), False, 0.8),
    )
    image = WorstImage("gone.png", (100, 100), 0.5, 1, 1, 1, objects, found)
    truth, detections = draw_tiles(image, ["cat"])

    def holds(tile: np.ndarray, colour: tuple) -> bool:
        return bool((tile == colour).all(axis=-1).any())

    assert [holds(truth, colour) for colour in (right, missed, false)] == [True, True, False]
    assert [holds(detections, colour) for colour in (right, missed, false)] == [True, False, True]


def test_of_very_many_detections_the_best_are_drawn_and_the_title_says_so() -> None:
    found = [DrawnObject(0, (0, 0, 5, 5), False, 0.1) for _ in range(MAX_DRAWN)]
    found.append(DrawnObject(0, (50, 50, 20, 20), True, 0.9))
    image = WorstImage("a/gone.png", (100, 100), 0.1, 1, MAX_DRAWN, 0, (), tuple(found))
    _, detections = draw_tiles(image, ["cat"])
    assert (detections == OUTCOMES[0][1]).all(axis=-1).any(), "the last of the list, the best"
    assert describe(image).startswith("gone.png: F1 0.10, 1 right, 100 false, 0 missed (drawn: the")
    fewer = replace(image, detections=image.detections[:MAX_DRAWN])
    assert describe(fewer).endswith("0 missed")
    named = replace(fewer, title="patient7/gone.png")
    assert describe(named).startswith("patient7/gone.png: F1")
    assert describe(replace(fewer, title=f"{'far/' * 30}gone.png")).startswith("...")


def test_a_box_without_end_is_drawn_to_the_edge() -> None:
    """Exponentials of untrained weights: infinite sizes, and corners that are no number."""
    inf, nan = float("inf"), float("nan")
    found = (
        DrawnObject(0, (20, 20, inf, inf), False, 0.9),
        DrawnObject(0, (-inf, 10, inf, 30), False, 0.8),
        DrawnObject(0, (nan, nan, nan, nan), False, 0.7),
    )
    _, detections = draw_tiles(WorstImage("gone.png", (100, 100), 0, 0, 3, 0, (), found), ["cat"])
    assert (detections == OUTCOMES[2][1]).all(axis=-1).any()


def test_names_at_the_same_box_stand_apart() -> None:
    taken: list = []
    for _ in range(4):
        place = _free_place((50, 50, 250, 200), 60, 17, (480, 300), taken)
        assert place is not None and not any(_meet(place, other) for other in taken)
        assert place[0] >= 0 and place[1] >= 0 and place[2] <= 480 and place[3] <= 300
        taken.append(place)
    taken.append((0, 0, 480, 300))
    assert _free_place((50, 50, 250, 200), 60, 17, (480, 300), taken) is None


def test_the_sheet_has_a_row_for_each_image_and_says_its_score(numbers) -> None:
    found = numbers["segm"]
    one = draw_sheet(replace(found, worst=found.worst[:1]))
    all_of_them = draw_sheet(found)
    assert len(found.worst) == 3 and all_of_them.shape[0] > 2 * one.shape[0]
    assert all_of_them.shape[1:] == one.shape[1:]
