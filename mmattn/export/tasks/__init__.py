"""Tasks whose models can be exported: one file each, so that no format knows any of them.

A task says what is traced, what the file's outputs are called, how outputs become a result and how
a file is compared with torch. To add one, write ``tasks/NAME.py`` with a ``TASK`` (and the traced
model beside it) and a row in ``TASKS``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mmattn.errors import ExportError

if TYPE_CHECKING:
    from torch import nn

    from .task import ExportTask

#: Task as the metadata of a file names it -> module of this package that defines its ``TASK``.
#: The first that supports a model is its task.
TASKS = {
    "semantic segmentation": "semantic",
    "panoptic segmentation": "panoptic",
    "instance segmentation": "instance",
    "object detection": "detection",
}


def find_task(name: str, source: str) -> ExportTask:
    """Return the task that the metadata of an exported file names.

    Args:
        name: Value of ``ExportMetadata.task``.
        source: Path of the file, used in messages.

    Raises:
        ExportError: This version of mmattn does not know the task.
    """
    if name not in TASKS:
        raise ExportError(
            f"{source}: unknown task {name!r}; this version of mmattn runs {', '.join(TASKS)}"
        )
    return import_module(f"{__name__}.{TASKS[name]}").TASK


def task_to_export(model: nn.Module) -> ExportTask:
    """Return the task as which ``model`` is exported; ``mmattn.tasks.task_of`` tells a config's.

    Raises:
        ExportError: No task of ``TASKS`` exports such a model.
    """
    for name in TASKS:
        task = find_task(name, "")
        if task.supports(model):
            return task
    name = type(model).__name__
    raise ExportError(
        f"{name} cannot be exported: it is neither an mmseg EncoderDecoder nor a detector of mmdet"
    )
