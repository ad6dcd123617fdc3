"""Replace a function in its module and wherever it was imported from there already."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType


def replace(module: ModuleType, name: str, function: Callable) -> None:
    """Put ``function`` in the place of ``module.name``, where there is one.

    The original and the forked mmengine do not have all functions in common; what neither has
    called so far needs no replacement.
    """
    original = getattr(module, name, None)
    if original is None:
        return
    for other in (module, *sys.modules.values()):
        if getattr(other, "__dict__", {}).get(name) is original:
            setattr(other, name, function)
