"""Run the code of a config so that its settings know their lines, and hand them to heirs."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

from .instrument import instrument, makers, stores
from .traced import (
    READING,
    Reading,
    Site,
    TracedDict,
    TracedList,
    TracedTuple,
    traced_sequence,
)


def run(path: Path, tree: ast.Module, namespace: TracedDict) -> None:
    """Run the code of a config in a namespace, with its lines."""
    lines = stores(tree)
    for name, make in makers(path, namespace).items():
        dict.__setitem__(namespace, name, make)
    code = compile(instrument(tree), str(path), "exec")
    READING.append(Reading(path, lines, namespace))
    try:
        exec(code, namespace)  # a Python config is code; mmengine has run it before
    finally:
        READING.pop()


def inherited(value: Any, scope: str | None, site: Site, *, outermost: bool = True) -> Any:
    """Return a value of a base with all manners of one; its outermost typed dicts get a scope.

    Every part is a copy: what two keys share in the base they do not share here.
    """
    if isinstance(value, TracedDict):
        own = value.emptied()
        own._merging = True
        scoped = outermost and "type" in value
        for key, inner in value.items():
            inner = inherited(inner, scope, site, outermost=outermost and not scoped)
            history = value.history(key)
            own.record(key, inner, [*history[:-1], replace(history[-1], value=inner)])
        if scoped and scope is not None and value.get("_scope_") is None:
            own.set_at("_scope_", scope, site)
        return own
    if isinstance(value, (TracedList, TracedTuple)):
        items = [inherited(inner, scope, site, outermost=outermost) for inner in value]
        return traced_sequence(type(value), items, value.site)
    return value
