"""Run code when somebody else's module is imported, without importing it ourselves.

``import mmattn`` must stay cheap, yet it has to change mmcv and mmengine, which take seconds to
import. So each change waits for its module: it is applied at once where the module is loaded
already, and right after the module's own code has run otherwise.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

Patch = Callable[[ModuleType], None]


class _PatchingLoader(importlib.abc.Loader):
    """Wraps a module's own loader and applies the patches after it."""

    def __init__(self, loader: importlib.abc.Loader, patches: Sequence[Patch]):
        self._loader = loader
        self._patches = patches

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Give the module its real loader back first: inspect and pickle look at it.
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        for patch in self._patches:
            patch(module)


class _PatchingFinder(importlib.abc.MetaPathFinder):
    """Finds the modules that wait for patches, by asking the finders behind it."""

    def __init__(self) -> None:
        self.patches: dict[str, list[Patch]] = {}
        self._searching: set[str] = set()

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        if fullname not in self.patches or fullname in self._searching:
            return None
        self._searching.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching.discard(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _PatchingLoader(spec.loader, self.patches[fullname])
        return spec


_finder = _PatchingFinder()


def when_imported(name: str, patch: Patch) -> None:
    """Call ``patch(module)`` once module ``name`` is imported: now, if it is already."""
    module = sys.modules.get(name)
    if module is not None:
        patch(module)
        return
    _finder.patches.setdefault(name, []).append(patch)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
