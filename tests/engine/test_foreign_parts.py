"""Promise: parts of mmengine's that mmattn does not know, and errors of others, are left alone."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.optim import BaseOptimWrapper

from mmattn.engine.accumulated_gradients import between_updates, restore_gradients
from mmattn.engine.train import _is_of_the_run


def test_an_optimiser_that_counts_by_itself_has_no_waiting_gradients() -> None:
    """DeepSpeed's wrapper is a ``BaseOptimWrapper``."""

    methods = ("update_params", "backward", "zero_grad", "step")
    own = type("Own", (BaseOptimWrapper,), dict.fromkeys(methods))
    runner: Any = SimpleNamespace(optim_wrapper=own.__new__(own))
    assert not between_updates(runner)
    restore_gradients(runner, None)


@pytest.mark.parametrize(
    ("number", "file", "told"),
    [
        (errno.ENOSPC, "run/vis_data/scalars.json", True),
        (errno.EIO, "data/images/1.jpg", False),
        (errno.ENOENT, "run/log", False),
        (errno.ENOSPC, None, False),
    ],
)
def test_only_what_the_run_writes_is_told_as_such(number: int, file: str | None, told) -> None:
    runner: Any = SimpleNamespace(work_dir="run")
    assert _is_of_the_run(OSError(number, "words", file), runner) is told
    assert not _is_of_the_run(OSError(number, "words", file), None)
