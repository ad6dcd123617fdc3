"""Run code when somebody else's module is imported, without importing it ourselves.

``import mmattn`` must stay cheap, yet it has to change mmcv and mmengine, which take seconds to
import. So each change waits for its module: it is applied at once where the module is loaded
already, and right after the module's own code has run otherwise. ``when_importing`` is for the
code itself: it is given the module before, and runs it.

Each change that is applied is a line at level DEBUG of the logger ``mmattn.bridge``.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

Patch = Callable[[ModuleType], None]
# Takes the module and what executes its code, and calls that.
Around = Callable[[ModuleType, Callable[[], None]], None]

_LOG = logging.getLogger("mmattn.bridge")


class _PatchingLoader(importlib.abc.Loader):
    """Wraps a module's own loader and applies the patches around and after it."""

    def __init__(
        self, loader: importlib.abc.Loader, patches: Sequence[Patch], around: Around | None
    ):
        self._loader = loader
        self._patches = patches
        self._around = around

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Give the module its real loader back first: inspect and pickle look at it.
        module.__loader__ = module.__spec__.loader = self._loader
        if self._around is None:
            self._loader.exec_module(module)
        else:
            self._around(module, lambda: self._loader.exec_module(module))
        for patch in self._patches:
            _apply(patch, module)


class _PatchingFinder(importlib.abc.MetaPathFinder):
    """Finds the modules that wait for patches, by asking the finders behind it."""

    def __init__(self) -> None:
        self.patches: dict[str, list[Patch]] = {}
        self.around: dict[str, Around] = {}
        self._searching: set[str] = set()

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        waiting = fullname in self.patches or fullname in self.around
        if not waiting or fullname in self._searching:
            return None
        self._searching.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching.discard(fullname)
        if spec is not None and spec.loader is not None:
            patches, around = self.patches.get(fullname, ()), self.around.get(fullname)
            spec.loader = _PatchingLoader(spec.loader, patches, around)
        return spec


_finder = _PatchingFinder()


def when_imported(name: str, patch: Patch) -> None:
    """Call ``patch(module)`` once module ``name`` is imported: now, if it is already."""
    module = sys.modules.get(name)
    if module is not None:
        _apply(patch, module)
        return
    _finder.patches.setdefault(name, []).append(patch)
    _look_first()


def when_importing(name: str, around: Around) -> None:
    """Have ``around(module, execute)`` execute module ``name``; nothing if it is loaded already."""
    if name not in sys.modules:
        _finder.around[name] = around
        _look_first()


def _look_first() -> None:
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def _apply(patch: Patch, module: ModuleType) -> None:
    patch(module)
    name = getattr(patch, "__name__", repr(patch)).lstrip("_")
    _LOG.debug("%s: applied %s", module.__name__, name)
