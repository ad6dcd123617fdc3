"""The config that a training would run, without its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmattn.config.class_counts import AUTO
from mmattn.config.registry_scope import enter_scope, explain_registry_errors
from mmattn.config.resolve import Resolution, resolve
from mmattn.config.walk import walk

from .runner import CLASS_COUNTS, run_steps
from .train import training_steps

if TYPE_CHECKING:
    from mmengine.config import Config


def resolve_training(cfg: Config) -> tuple[Resolution, list[str]]:
    """Take the steps of a training on this machine.

    Args:
        cfg: A whole config; it is not changed.

    Returns:
        What the steps made of it, and what was left undone: numbers of classes that are counted in
        the data are not filled in.

    Raises:
        MMAttnError: What a step finds wrong.
    """
    cfg = cfg.copy()
    cfg.setdefault("launcher", "none")
    options = training_steps(None, amp=False, auto_scale_lr=False, resume=None)
    steps = [step for step in (*options, *run_steps(cfg)) if step.name != CLASS_COUNTS]
    enter_scope(cfg)
    with explain_registry_errors(cfg.filename):
        resolution = resolve(cfg, steps)
    open_counts = [
        path for path, value in walk(cfg.to_dict()) if isinstance(value, str) and value == AUTO
    ]
    left = [
        f"{CLASS_COUNTS}: {path} stays {AUTO!r}: it is counted in the data"
        for path in open_counts
        if path.startswith("model.")
    ]
    return resolution, left
