"""Makes ``import mmcv._ext`` find our functions where mmcv has no compiled extension."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_NAME = "mmcv._ext"


class _ExtLoader(importlib.abc.Loader):
    """Executes ``mmattn.bridge.ext`` under the name ``mmcv._ext``."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        from . import ext

        ext.fill(module)


class _ExtFinder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        if fullname != _NAME:
            return None
        # A compiled extension, if there is one, is left alone.
        if PathFinder.find_spec(fullname, path) is not None:
            return None
        return importlib.util.spec_from_loader(_NAME, _ExtLoader(), origin="mmattn.bridge.ext")


def provide_mmcv_ext() -> None:
    """Add the finder once, before the ordinary ones."""
    if not any(isinstance(finder, _ExtFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _ExtFinder())
