"""Read configs in mmengine's new style (``with read_base(): from .base import *``), with lines."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from typing import Any

from mmattn.errors import ConfigError

from .running import inherited, run
from .traced import Setting, Site, TracedDict, settings_only


def read_lazy(path: Path, bases: dict[Path, tuple[Path, ...]]) -> TracedDict:
    """Return the settings of a config and of those that it imports.

    Args:
        path: The config.
        bases: Receives the files that each file inherits.

    Raises:
        ConfigError: A base is not there.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    namespace = TracedDict(Site(path, 0))
    found: list[Path] = []
    body: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.With):
            for inner in node.body:
                if isinstance(inner, ast.ImportFrom):
                    file = _base_file(path, inner)
                    found.append(file)
                    _take(namespace, read_lazy(file, bases), inner)
        elif isinstance(node, (ast.Import, ast.ImportFrom)) and not _is_builtin(node):
            _lazy_objects(path, node, namespace)
        else:
            body.append(node)
    bases[path] = tuple(found)
    tree.body = body
    run(path, tree, namespace)
    own = TracedDict(Site(path, 0))
    for key in settings_only(namespace):
        own.record(key, namespace[key], namespace.history(key))
    return inherited(own, None, Site(path, 0))


def _take(namespace: TracedDict, base: TracedDict, node: ast.ImportFrom) -> None:
    names = {alias.name: alias.asname or alias.name for alias in node.names}
    if "*" in names:
        names = {key: key for key in base}
    for name, own in names.items():
        if name in base:
            namespace.record(own, base[name], base.history(name))


def _base_file(path: Path, node: ast.ImportFrom) -> Path:
    parts = (node.module or "").split(".")
    if node.level:
        folder = path.parent
        for _ in range(node.level - 1):
            folder = folder.parent
    else:
        spec = importlib.util.find_spec(parts[0])
        folder = Path(next(iter(spec.submodule_search_locations or [""]))) if spec else Path()
        parts = parts[1:]
    file = folder.joinpath(*parts).with_suffix(".py").resolve()
    if not file.is_file():
        raise ConfigError(f"{path}:{node.lineno}: there is no base {file}")
    return file


def _is_builtin(node: ast.Import | ast.ImportFrom) -> bool:
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    names = names or [alias.name for alias in node.names]
    level = getattr(node, "level", 0)
    return not level and all(name.partition(".")[0] in sys.stdlib_module_names for name in names)


def _lazy_objects(path: Path, node: ast.Import | ast.ImportFrom, namespace: TracedDict) -> None:
    """Put stand-ins for what a config imports into its namespace; nothing is imported."""
    from mmengine.config.lazy import LazyObject

    if isinstance(node, ast.ImportFrom) and node.module == "mmengine.config":
        return
    where = f"{path}, line {node.lineno}"
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            value: Any = LazyObject(node.module or "", alias.name, where)
        else:
            value = LazyObject(alias.name if alias.asname else [alias.name], None, where)
        name = alias.asname or alias.name.partition(".")[0]
        namespace.record(name, value, [Setting(Site(path, node.lineno), value)])
