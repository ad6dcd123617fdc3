"""Import plugins one by one, so that one that cannot be imported costs no other.

``import_plugin`` keeps a failure to itself. The registries of ``mmattn.registry`` ask
``require_plugin_of`` when they do not know a name: only then, and only for a name that the broken
plugin would have registered, is the failure raised, with the missing package and the fix.

Imports the standard library alone, as ``mmattn.registry`` needs it.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from .errors import PluginError

#: Module that imports every plugin of mmattn; the registries import it at their first look-up.
ALL_PLUGINS = "mmattn.projects._register"

# Import name -> name in the package index, where they differ.
_PACKAGES = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
# The same for OpenMMLab: the forks, or the originals where another one of them is installed.
_OPENMMLAB = {
    "mmcv": ("onedl-mmcv", "mmcv"),
    "mmdet": ("onedl-mmdetection", "mmdet"),
    "mmengine": ("onedl-mmengine", "mmengine"),
    "mmpretrain": ("onedl-mmpretrain", "mmpretrain"),
    "mmseg": ("onedl-mmsegmentation", "mmsegmentation"),
}
_DEFINED = re.compile(r"^(?:class|def) (\w+)", re.MULTILINE)
_NAMED = re.compile(r"register_module\([^)]*\bname=\W*(\w+)")

_failures: dict[str, Exception] = {}


def import_plugin(module: str) -> None:
    """Import a plugin's module, which registers its classes; a failure is only remembered.

    Args:
        module: Dotted name of the module or package, such as ``"mmattn.projects.ccnet"``.
    """
    try:
        import_module(module)
    except Exception as error:
        _unregister_unfinished(module)
        _failures[module] = error
    else:
        _failures.pop(module, None)


def import_all_plugins() -> list[PluginError]:
    """Import every plugin of mmattn, which registers classes and checkpoint converters.

    Returns:
        One error for each plugin that could not be imported.
    """
    import_module(ALL_PLUGINS)
    return import_failures()


def import_failures() -> list[PluginError]:
    """Return one error for each plugin that could not be imported."""
    return [_explain(module, error) for module, error in _failures.items()]


def require_plugin_of(name: str) -> None:
    """Raise if ``name`` belongs to a plugin that cannot be imported.

    The import is tried once more: what failed may have been repaired, or have failed only because
    it ran in the middle of another import.

    Args:
        name: Registered name without its scope, such as ``"CBAM"``.

    Raises:
        PluginError: The plugin that registers ``name`` cannot be imported.
    """
    for module in list(_failures):
        if name in _names_in(module):
            import_plugin(module)
            if module in _failures:
                error = _failures[module]
                raise _explain(module, error, name) from error


def _names_in(module: str) -> set[str]:
    """Return every name that the files of a plugin may register; nothing is imported."""
    names: set[str] = set()
    for file in _files_of(module):
        text = file.read_text(encoding="utf-8")
        names.update(_DEFINED.findall(text), _NAMED.findall(text))
    return names


def _files_of(module: str) -> Iterator[Path]:
    try:
        spec = find_spec(module)
    except Exception:  # it imports the parent package, which may be what is broken
        return
    if spec is None or spec.origin is None:
        return
    if spec.submodule_search_locations is None:
        yield Path(spec.origin)
    for folder in spec.submodule_search_locations or ():
        yield from sorted(Path(folder).rglob("*.py"))


def _unregister_unfinished(module: str) -> None:
    """Forget the classes of modules whose import failed halfway.

    Python drops such a module, so the next attempt runs it again; mmengine would then complain
    that its classes are already registered, and hide why the import fails.
    """
    from mmengine.registry import Registry

    ours = sys.modules.get("mmattn.registry")
    for registry in vars(ours).values() if ours else ():
        if not isinstance(registry, Registry):
            continue
        for name, cls in list(registry.module_dict.items()):
            home = getattr(cls, "__module__", "")
            if home not in sys.modules and f"{home}.".startswith(f"{module}."):
                del registry.module_dict[name]


def _explain(module: str, error: Exception, name: str | None = None) -> PluginError:
    plugin = module.removeprefix("mmattn.projects.")
    wanted = f"{name!r} cannot be built: " if name else ""
    missing = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and missing not in ("", "mmattn"):
        package = _package_of(missing)
        reason = f"needs the package {missing!r}, which is not installed"
        fix = f"Install it (pip install {package})"
    else:
        reason = f"cannot be imported ({type(error).__name__}: {error})"
        fix = f"Fix the import (python -c 'import {module}' shows all of it)"
    return PluginError(
        f"{wanted}the plugin {plugin!r} {reason}{_place(module, error)}. {fix}, or leave the "
        "plugin out of the config; all other plugins work."
    )


def _package_of(module: str) -> str:
    """Return the distribution that brings an import name; both families must not be mixed."""
    if module not in _OPENMMLAB:
        return _PACKAGES.get(module, module)
    fork, original = _OPENMMLAB[module]
    try:
        version("onedl-mmengine")
    except PackageNotFoundError:
        return original
    return fork


def _place(module: str, error: Exception) -> str:
    """Return ``", at FILE, line N"`` of the plugin's last line in the traceback, or ``""``."""
    files = {str(file.resolve()) for file in _files_of(module)}
    if isinstance(error, SyntaxError):
        return f", at {error.filename}, line {error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if str(Path(frame.filename).resolve()) in files:
            return f", at {frame.filename}, line {frame.lineno}"
    return ""
