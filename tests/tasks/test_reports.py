"""The report of a task is named by modules that are there, and by nothing else."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

from mmattn.tasks import DETECTION, INSTANCE, PANOPTIC, SEMANTIC, SEMANTIC_IN_MMDET, TASKS, Task

REPORTED = [task for task in TASKS if task.report]


def test_every_task_has_a_report() -> None:
    assert REPORTED == [SEMANTIC, SEMANTIC_IN_MMDET, DETECTION, INSTANCE, PANOPTIC]
    assert [task.name for task in REPORTED if task.report.exported] == [
        SEMANTIC.name,
        DETECTION.name,
    ]


@pytest.mark.parametrize("task", REPORTED, ids=lambda task: task.name)
def test_its_modules_measure_and_write(task: Task) -> None:
    assert task.report is not None
    measure = import_module(task.report.measurement).measure_run
    parameters = inspect.signature(measure).parameters
    assert {"config", "checkpoint", "num_images", "steps"} <= set(parameters)
    # Instance segmentation shares its measurement with detection, whose files have boxes alone.
    assert not task.report.exported or task.report.exported in parameters
    pages = import_module(task.report.pages)
    for write in (pages.write_markdown_report, pages.write_html_report):
        assert "maps_only" in inspect.signature(write).parameters
