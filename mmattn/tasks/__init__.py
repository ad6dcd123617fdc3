"""Tasks: semantic, instance and panoptic segmentation, and object detection, as data.

A ``Task`` holds what configs, checks, training and prediction have to know about it; ``task_of``
tells the task of a config. A new task, or a new system with heads of its own, changes these files
and no code elsewhere.
"""

from __future__ import annotations

from .detection import DETECTION
from .instance import INSTANCE
from .panoptic import PANOPTIC
from .semantic import SEMANTIC, SEMANTIC_IN_MMDET
from .task import Task as Task
from .task import TaskReport as TaskReport
from .task import TestTimeAugmentation as TestTimeAugmentation
from .task_of import task_of as task_of

#: Every task, for tables that hold whatever the task of a config.
TASKS = (SEMANTIC, SEMANTIC_IN_MMDET, DETECTION, INSTANCE, PANOPTIC)

__all__ = [
    "DETECTION",
    "INSTANCE",
    "PANOPTIC",
    "SEMANTIC",
    "SEMANTIC_IN_MMDET",
    "TASKS",
    "Task",
    "TaskReport",
    "TestTimeAugmentation",
    "task_of",
]
