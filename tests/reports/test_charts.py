"""Promise: a chart shows the values that there are, whatever they are."""

from __future__ import annotations

import re

import pytest

from mmattn.reports.html.charts import Line, line_chart

NAMES = {"x_label": "step", "y_label": "loss", "description": "Loss <over> steps"}


def labels(chart: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", chart)


def test_values_that_are_no_numbers_are_left_out() -> None:
    points = [(1, float("nan")), (2, float("inf")), (3, 4.0), (4, 2.0)]
    chart = line_chart([Line("a & b", points)], **NAMES)
    assert "nan" not in chart and "inf" not in chart
    assert chart.count("<circle") == 2 and "a &amp; b" in chart and "Loss &lt;over&gt;" in chart


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0], [0.0, 0.0], [-1e-9, 1e-9], [1e12, 2e12]])
def test_any_range_has_an_axis(values: list[float]) -> None:
    chart = line_chart([Line("", [(i, v) for i, v in enumerate(values)])], **NAMES)
    assert len(labels(chart)) >= 4


def test_a_logarithmic_axis_names_powers_and_leaves_out_what_has_none() -> None:
    chart = line_chart([Line("a", [(0, 0.0), (1, 0.01), (2, 100.0)])], logarithmic=True, **NAMES)
    assert {"0.01", "1", "100"} <= set(labels(chart)) and chart.count("<circle") == 2


def test_without_values_there_is_a_sentence() -> None:
    assert "No values" in line_chart([Line("a", [])], **NAMES)


def test_a_long_curve_keeps_its_ends_in_few_points() -> None:
    chart = line_chart([Line("a", [(i, i) for i in range(100_001)])], **NAMES)
    path = re.findall(r'<path d="M([^"]*)" style="stroke:var\(--c0\)', chart)[0].split("L")
    assert len(path) <= 502 and path[0].startswith("58") and path[-1].startswith("548")
