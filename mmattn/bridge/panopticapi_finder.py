"""Makes ``import panopticapi`` find our functions where the package is not installed."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_PACKAGE = "panopticapi"
_NAMES = {
    _PACKAGE: (),
    f"{_PACKAGE}.utils": ("rgb2id", "id2rgb"),
    f"{_PACKAGE}.evaluation": ("OFFSET", "VOID", "PQStat", "PQStatCat"),
}


class _Loader(importlib.abc.Loader):
    """Fills a module with its names from ``mmattn.bridge.panopticapi``."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        from . import panopticapi

        for name in _NAMES[module.__name__]:
            setattr(module, name, getattr(panopticapi, name))


class _Finder(importlib.abc.MetaPathFinder):
    """Comes last, so that an installed package is found before."""

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        if fullname not in _NAMES or PathFinder.find_spec(_PACKAGE) is not None:
            return None
        return importlib.util.spec_from_loader(
            fullname, _Loader(), origin="mmattn.bridge.panopticapi", is_package=fullname == _PACKAGE
        )


def provide_panopticapi() -> None:
    """Add the finder, once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
