"""Hooks find a metric's optional abilities by its attributes, and leave other metrics alone."""

from __future__ import annotations

from mmdet.evaluation import CocoMetric
from mmseg.evaluation import IoUMetric

from mmattn.evaluation import (
    ClasswiseCocoMetric,
    ClasswiseIoUMetric,
    HasAreas,
    HasClassTables,
    HasDetectionNumbers,
    HasMatches,
    SavesPlots,
)

PROTOCOLS = (HasClassTables, SavesPlots, HasAreas, HasDetectionNumbers, HasMatches)


def abilities(metric) -> list[bool]:
    return [isinstance(metric, protocol) for protocol in PROTOCOLS]


def test_our_metrics_have_them() -> None:
    assert abilities(ClasswiseIoUMetric()) == [True, True, True, False, False]
    assert abilities(ClasswiseCocoMetric()) == [True, True, False, True, True]


def test_upstreams_metrics_have_none() -> None:
    assert abilities(IoUMetric()) == abilities(CocoMetric()) == [False] * 5


def test_a_metric_needs_no_base_class() -> None:
    class Plain:
        def save_plots(self, folder, name):
            return []

    assert abilities(Plain()) == [False, True, False, False, False]
