"""Replaces mmengine's checkpoint loading, which falls back to unpickling, by ``mmattn.io``."""

from __future__ import annotations

from types import ModuleType


def refuse_pickles(checkpoint_module: ModuleType) -> None:
    """Make every loader of ``mmengine.runner.checkpoint`` read weights as data only."""
    raise NotImplementedError
