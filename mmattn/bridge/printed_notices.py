"""Notices that other packages print, where they could not be switched off: they go to a logger.

Both become lines at level DEBUG of the logger ``mmattn.bridge``.
"""

from __future__ import annotations

import functools
import logging
from types import ModuleType

_LOG = logging.getLogger("mmattn.bridge")


def honour_print_log_level(logger_module: ModuleType) -> None:
    """Let ``print_log(text, level=DEBUG)`` without a logger print nothing.

    mmengine prints whatever the level; the forks' mmdet and mmseg tell so, four times in each
    process and at level DEBUG, that an optional package of theirs is absent.
    """
    original = logger_module.print_log

    @functools.wraps(original)
    def print_log(msg, logger=None, level=logging.INFO) -> None:
        if logger is None and level <= logging.DEBUG:
            _LOG.debug(msg)
        else:
            original(msg, logger=logger, level=level)

    logger_module.print_log = print_log


def quiet_coco_index(coco_module: ModuleType) -> None:
    """Keep pycocotools from printing three lines for every annotation file that it reads."""
    coco_module.print = lambda *words, **options: _LOG.debug(" ".join(map(str, words)))
