"""Rules about how a config is written: variables, paths, keys."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path, PurePath

from mmattn.config.read_keys import READ_KEYS
from mmattn.config.walk import walk

from ..explain import section_of, stale_uses
from ..places import shown_site, shown_value
from ..trace import Trace
from ..traced import DELETE, Site, plain

#: Variables that tools of mmdet and mmseg read, and names that configs keep for their readers.
_READ_BY_TOOLS = frozenset({"tta_pipeline", "tta_model", "backend_args", "dataset_type"})


def unused_variables(trace: Trace) -> Iterator[tuple[str | Site, str]]:
    """Yield variables of the config's own file that nothing reads.

    Files in ``_base_`` folders are left out: those that inherit them read their variables.
    """
    if "_base_" in trace.path.parts or trace.path.suffix != ".py":
        return
    tree = ast.parse(trace.path.read_text(encoding="utf-8"))
    loaded = _loaded(tree)
    stale = {use.name for use in stale_uses(trace)}
    for node in tree.body:
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            name = target.id if isinstance(target, ast.Name) else ""
            silent = not name or name.startswith("_") or name in loaded or name in stale
            if silent or name in READ_KEYS or name in _READ_BY_TOOLS:
                continue
            if not _same_as_used(trace, name):
                yield Site(trace.path, node.lineno), f"nothing reads the variable {name!r}"


def unwired(trace: Trace) -> Iterator[tuple[str | Site, str]]:
    """Yield variables of a base that the config sets, and nothing reads, after the base used them.

    A pipeline that a config defines anew is the usual case.
    """
    loaded: dict[Path, set[str]] = {}
    for use in stale_uses(trace):
        file = use.new.site.file
        if file is None or file.suffix != ".py":
            continue
        if file not in loaded:
            loaded[file] = _loaded(ast.parse(file.read_text(encoding="utf-8")))
        if use.name not in loaded[file]:
            yield (
                use.new.site,
                f"this {use.name} is read by nothing: {use.path} was fixed when "
                f"{shown_site(use.setting.site)} was read",
            )


def absolute_paths(trace: Trace) -> Iterator[tuple[str | Site, str]]:
    """Yield absolute paths."""
    for path, value in walk(plain(trace.root)):
        if section_of(path) not in READ_KEYS or not isinstance(value, str):
            continue
        if value.startswith("/") and len(PurePath(value).parts) > 2 and "\n" not in value:
            there = "" if Path(value).exists() else ", and there is nothing here"
            yield (
                path,
                f"{path}={shown_value(value)} is an absolute path, which is of one machine{there}: "
                "write it relative to where commands are run, or give it on the command line",
            )


def duplicate_keys(trace: Trace) -> Iterator[tuple[str | Site, str]]:
    """Yield keys that a dict of the config's own file, or of one of its bases, has twice."""
    for file in (trace.path, *trace.bases):
        if file.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Dict):
                continue
            first: dict[object, int] = {}
            for key in node.keys:
                if not isinstance(key, ast.Constant):
                    continue
                if key.value in first:
                    yield (
                        Site(file, key.lineno),
                        f"the key {key.value!r} is in this dict twice; the value of line "
                        f"{first[key.value]} is lost",
                    )
                first[key.value] = key.lineno


def leftover_deletes(trace: Trace) -> Iterator[tuple[str | Site, str]]:
    """Yield ``_delete_`` marks that stayed, since no base has the key; a class would get them."""
    for path, _ in walk(plain(trace.root)):
        if path.rpartition(".")[2] == DELETE and section_of(path) in READ_KEYS:
            yield path, f"{path}: no base has this key, so that {DELETE} stays as an argument"


def _loaded(tree: ast.AST) -> set[str]:
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    return {node.id for node in names if isinstance(node.ctx, ast.Load)}


def _same_as_used(trace: Trace, name: str) -> bool:
    """Return whether a variable holds what a base's variable of this name holds already."""
    history = trace.root.history(name)
    return len(history) > 1 and plain(history[-1].value) == plain(history[-2].value)
