"""Figures: legends lie beside the lines, and SVGs can be put into a page."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from mmattn.reports.figure_style import legend_above, new_axes, svg_data_uri


@pytest.mark.parametrize("count", [1, 2, 6, 15])
def test_a_legend_touches_neither_the_axes_nor_the_end_of_the_figure(count: int) -> None:
    axes = new_axes(7.0, 4.2, dpi=110)
    for index in range(count):
        axes.plot(np.arange(5), index * np.arange(5), label=f"decode.aux_{index}.loss_ce")
    legend_above(axes)
    figure = axes.figure
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert len(legend.get_texts()) == count
    assert box.y0 >= axes.get_window_extent().y1 - 0.5
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 + 0.5
    assert axes.get_window_extent().height > 0.4 * figure.bbox.height


def test_no_label_no_legend() -> None:
    axes = new_axes(3, 2, dpi=100)
    axes.plot([0, 1], [0, 1])
    legend_above(axes)
    assert axes.figure.legends == []


def test_an_svg_is_the_same_each_time_and_asks_for_no_font() -> None:
    def draw() -> str:
        axes = new_axes(3, 2, dpi=100)
        axes.plot([0, 1, 2], [0, float("nan"), 1], label="a")
        legend_above(axes)
        return svg_data_uri(axes)

    head, _, body = draw().partition(",")
    assert head == "data:image/svg+xml;base64"
    assert draw().partition(",")[2] == body
    svg = base64.b64decode(body).decode()
    assert "<svg" in svg and "<text" not in svg and "<image" not in svg
