"""Give modules that were imported before mmattn the operators that they did without.

mmdet and mmseg import each operator of mmcv in a ``try``; without mmcv's compiled extension the
module keeps a placeholder that raises when it is called, or None. Once mmattn is imported the
extension is there (``ext_finder``), and the same import gives the operator.
"""

from __future__ import annotations

import ast
import logging
import sys
from collections.abc import Iterator
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any

from ._replacing import replace

_PACKAGES = ("mmcv", "mmdet", "mmseg")
#: Where operators are imported from.
_SOURCES = ("mmcv.ops", "mmcv.cnn.bricks.transformer")
_MISSING = object()
_LOG = logging.getLogger("mmattn.bridge")


def restore_operators() -> list[str]:
    """Put operators in the place of their placeholders, in every module that was imported before.

    Returns:
        What was replaced, such as ``mmdet.models.layers.bbox_nms.batched_nms``.
    """
    early = [
        module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in _PACKAGES and isinstance(module, ModuleType)
    ]
    found = util.find_spec("mmcv._ext") if early else None
    if found is None or found.origin != "mmattn.bridge.ext":
        return []  # nothing was imported before, or the extension is a compiled one
    restored = []
    for module in early:
        for source, name, alias in _operators(module):
            own = vars(module).get(alias, _MISSING)
            operator = _operator(source, name)
            if operator is _MISSING or own is operator:
                continue
            if own is None or own is _MISSING:
                setattr(module, alias, operator)
            else:  # others may have imported the placeholder from there
                replace(module, alias, operator)
            restored.append(f"{module.__name__}.{alias}")
    for name in restored:
        _LOG.debug("%s: restored, it was imported before mmattn", name)
    return restored


def _operator(source: str, name: str) -> Any:
    """Return an operator, ``_MISSING`` where this mmcv has none of that name."""
    try:
        return getattr(import_module(source), name, _MISSING)
    except ImportError as error:  # the placeholder stays, as the module itself would have it
        _LOG.debug("%s.%s: %s", source, name, error)
        return _MISSING


def _operators(module: ModuleType) -> Iterator[tuple[str, str, str]]:
    """Yield what a module imports from mmcv's operators in a ``try``: source, name, own name."""
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py") or not Path(file).is_file():
        return
    text = Path(file).read_text(encoding="utf-8")
    if "except" not in text or not any(source in text for source in _SOURCES):
        return
    for statement in ast.parse(text).body:
        for inner in statement.body if isinstance(statement, ast.Try) else ():
            if isinstance(inner, ast.ImportFrom) and (inner.module or "").startswith(_SOURCES):
                for imported in inner.names:
                    yield inner.module, imported.name, imported.asname or imported.name  # type: ignore[misc]
