"""Rewrite the code of a config so that its dicts, lists and tuples know their lines."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from .traced import (
    Setting,
    Site,
    TracedDict,
    TracedList,
    TracedTuple,
    adopt,
    reads_of,
    traced_sequence,
)

#: Names under which the rewritten code calls what makes traced values.
DICT, LIST, TUPLE = "__traced_dict__", "__traced_list__", "__traced_tuple__"


def instrument(tree: ast.Module) -> ast.Module:
    """Return code in which every dict, list and tuple is made with its lines."""
    return ast.fix_missing_locations(_Instrument().visit(tree))


def stores(tree: ast.Module) -> dict[int, tuple[str, ...]]:
    """Return line of an assignment -> variables that its value is made of."""
    found: dict[int, tuple[str, ...]] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                found[target.lineno] = tuple(names_read(node.value))
    return found


def names_read(value: ast.expr) -> Iterator[str]:
    """Yield the variables of an expression; those inside dicts and lists belong to their keys."""
    seen = set()
    for name in _names(value):
        if name not in seen:
            seen.add(name)
            yield name


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        dotted = _dotted(node)
        if dotted:
            yield dotted
            return
    if isinstance(node, ast.Name):
        yield node.id
        return
    if isinstance(node, (ast.Dict, ast.List, ast.Tuple)):
        return
    if _is_call_of(node, ("dict", DICT, LIST, TUPLE)):
        return
    for inner in ast.iter_child_nodes(node):
        yield from _names(inner)


def _dotted(node: ast.Attribute) -> str:
    parts: list[str] = []
    inner: ast.expr = node
    while isinstance(inner, ast.Attribute):
        parts.append(inner.attr)
        inner = inner.value
    return ".".join([inner.id, *reversed(parts)]) if isinstance(inner, ast.Name) else ""


def _is_dict_call(node: ast.AST) -> bool:
    return _is_call_of(node, ("dict",))


def _is_call_of(node: ast.AST, names: tuple[str, ...]) -> bool:
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return called and node.func.id in names  # type: ignore[union-attr]


class _Instrument(ast.NodeTransformer):
    """Replace dict, list and tuple displays by calls that take lines along."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if not _is_dict_call(node) or any(isinstance(arg, ast.Starred) for arg in node.args):
            return node
        items: list[tuple[ast.expr | None, ast.expr]] = [(None, arg) for arg in node.args]
        for keyword in node.keywords:
            key = ast.Constant(keyword.arg) if keyword.arg is not None else None
            items.append((key, keyword.value))
        return self._made(DICT, node, items)

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        self.generic_visit(node)
        return self._made(DICT, node, list(zip(node.keys, node.values, strict=True)))

    def visit_List(self, node: ast.List) -> ast.AST:
        self.generic_visit(node)
        return node if not isinstance(node.ctx, ast.Load) else self._sequence(LIST, node)

    def visit_Tuple(self, node: ast.Tuple) -> ast.AST:
        self.generic_visit(node)
        return node if not isinstance(node.ctx, ast.Load) else self._sequence(TUPLE, node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        node.value = self.visit(node.value)  # an index that is a tuple stays one
        return node

    @staticmethod
    def _sequence(name: str, node: ast.List | ast.Tuple) -> ast.AST:
        plain = ast.Tuple(node.elts, ast.Load())
        args: list[ast.expr] = [ast.Constant(node.lineno), plain]
        made = ast.Call(ast.Name(name, ast.Load()), args, [])
        return ast.copy_location(made, node)

    @staticmethod
    def _made(name: str, node: ast.expr, items: list[tuple[ast.expr | None, ast.expr]]) -> ast.AST:
        entries: list[ast.expr] = []
        for key, value in items:
            entries.append(
                ast.Tuple(
                    [
                        key if key is not None else ast.Constant(None),
                        ast.Constant(key is None),
                        ast.Constant(_line_of(key, value)),
                        ast.Constant(tuple(names_read(value))),
                        value,
                    ],
                    ast.Load(),
                )
            )
        args: list[ast.expr] = [ast.Constant(node.lineno), ast.Tuple(entries, ast.Load())]
        return ast.copy_location(ast.Call(ast.Name(name, ast.Load()), args, []), node)


def _line_of(key: ast.expr | None, value: ast.expr) -> int:
    # Of a keyword only the value has a line here.
    return getattr(key, "lineno", None) or value.lineno


def makers(file: Path, namespace: Any) -> dict[str, Callable[..., Any]]:
    """Return what the rewritten code of a file calls.

    Args:
        file: The config.
        namespace: Its variables.
    """

    def make_dict(line: int, items: Iterable[tuple]) -> TracedDict:
        made = TracedDict(Site(file, line))
        for key, spread, own_line, names, value in items:
            if not spread:
                site = Site(file, own_line, reads_of(names, namespace))
                value = adopt(value, site)
                made.record(key, value, [Setting(site, value)])
                continue
            source = value if isinstance(value, dict) else dict(value)
            for inner_key, inner in source.items():
                site = Site(file, own_line, reads_of(names, namespace))
                history = source.history(inner_key) if isinstance(source, TracedDict) else []
                inner = adopt(inner, site)
                made.record(inner_key, inner, list(history) or [Setting(site, inner)])
        return made

    def make_list(line: int, items: tuple) -> TracedList:
        site = Site(file, line)
        return traced_sequence(TracedList, (adopt(one, site) for one in items), site)

    def make_tuple(line: int, items: tuple) -> TracedTuple:
        site = Site(file, line)
        return traced_sequence(TracedTuple, (adopt(one, site) for one in items), site)

    return {DICT: make_dict, LIST: make_list, TUPLE: make_tuple}
