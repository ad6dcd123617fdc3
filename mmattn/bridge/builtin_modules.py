"""Lets configs in Python syntax import from the standard library in a virtual environment.

The original mmengine takes a module for one of Python's own when its file lies under the folder of
the interpreter. That of a virtual environment holds no standard library, and ``os`` has no file
since Python 3.11: such imports became placeholders, which cannot be called. Python 3.10 and later
know the names.
"""

from __future__ import annotations

import functools
import sys
from types import ModuleType

from ._replacing import replace


def patch_builtin_modules(config_utils: ModuleType) -> None:
    """Make ``mmengine.config.utils`` know the standard library by its names, and what it knew."""
    original = config_utils._is_builtin_module
    if original("os"):  # it knows, as the forked mmengine does, or is patched already
        return

    @functools.wraps(original)
    def is_builtin_module(module_name: str) -> bool:
        return module_name.split(".")[0] in sys.stdlib_module_names or original(module_name)

    replace(config_utils, "_is_builtin_module", is_builtin_module)
