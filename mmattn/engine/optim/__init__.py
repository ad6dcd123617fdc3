"""Parameter groups and schedules; the registry imports this at its first look-up."""

from __future__ import annotations

from .grouped_parameters import GroupedOptimWrapperConstructor
from .linear_with_warmup import LinearWithWarmup
from .new_parameters import NewParametersOptimWrapperConstructor

__all__ = [
    "GroupedOptimWrapperConstructor",
    "LinearWithWarmup",
    "NewParametersOptimWrapperConstructor",
]
