"""The legend below an image: what is in it, in its colours, and nothing is covered."""

from __future__ import annotations

import numpy as np
import pytest

from mmattn.reports.legend import with_legend
from mmattn.reports.painter import OUTCOMES, Painter

PALETTE = [(200, 10, 10), (10, 200, 10), (10, 10, 200), (90, 90, 10)]


def test_the_image_stays_and_the_colours_stand_below() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 200, 3), np.uint8)
    drawn = with_legend(image, [("road", PALETTE[0]), ("sky", PALETTE[2])])
    assert drawn.shape[0] > 40 and drawn.shape[1:] == (200, 3)
    assert np.array_equal(drawn[:40], image)
    strip = {tuple(pixel) for pixel in drawn[40:].reshape(-1, 3).tolist()}
    assert {PALETTE[0], PALETTE[2], (255, 255, 255)} <= strip and PALETTE[1] not in strip
    assert with_legend(image, []) is image


@pytest.mark.parametrize("width", [30, 60, 200])
def test_long_and_many_names_stay_inside(width: int) -> None:
    image = np.zeros((20, width, 3), np.uint8)
    names = [(f"a rather long name {i}", PALETTE[i % 4]) for i in range(30)]
    drawn = with_legend(image, names, shown=10)
    assert drawn.shape[1] == width
    # The right edge is white: no letter is cut off.
    assert (drawn[20:, -1] == 255).all()
    assert len(drawn) < len(with_legend(image, names, shown=30))


def test_a_painter_names_what_is_there_by_area() -> None:
    painter = Painter.of(("sky", "background", "road", "car"), PALETTE)
    labels = np.array([[2, 2, 2, 0], [1, 1, 1, 255]])
    assert painter.legend_of(labels) == [("road", PALETTE[2]), ("sky", PALETTE[0])]
    truth = np.array([[3, 3, 3, 3], [3, 3, 3, 3]])
    assert [name for name, _ in painter.legend_of(labels, truth)] == ["car", "road", "sky"]


def test_two_classes_beside_their_truth_have_outcomes() -> None:
    painter = Painter.of(("background", "crack"), PALETTE)
    labels = np.array([[0, 1]])
    names = [name for name, _ in painter.legend_of(labels, labels)]
    assert names == ["crack", *(f"crack: {outcome}" for outcome, _ in OUTCOMES)]
    assert [name for name, _ in painter.legend_of(labels)] == ["crack"]
