"""Replace a function in its module and wherever it was imported from there already."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType


def replace(module: ModuleType, name: str, function: Callable, *, optional: bool = False) -> None:
    """Put ``function`` in the place of ``module.name``.

    Args:
        module: Module of mmengine, mmcv, mmdet or mmseg.
        name: Name of the function that is replaced.
        function: Function that takes its place.
        optional: Whether one family of the packages lacks the function, which is no error then.

    Raises:
        AttributeError: There is no such function: the package was changed, and what this patch
            protects would be unprotected.
    """
    if optional and not hasattr(module, name):
        return
    original = getattr(module, name)
    for other in (module, *sys.modules.values()):
        if getattr(other, "__dict__", {}).get(name) is original:
            setattr(other, name, function)
