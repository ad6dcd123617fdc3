"""The rule of two: what a second system needs moves to ``mmattn.layers``, it is not copied."""

from __future__ import annotations

import ast
import copy
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

PROJECTS = Path(__file__).resolve().parents[2] / "projects"
LINES = 8  # of a body without its docstring, comments and blank lines; shorter ones may repeat


class _Rename(ast.NodeTransformer):
    """Numbers in place of a function's own names, so that renaming hides no copy."""

    def __init__(self, function: ast.AST):
        arguments = [node.arg for node in ast.walk(function) if isinstance(node, ast.arg)]
        stored = [
            node.id
            for node in ast.walk(function)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        ]
        self.numbers = {name: f"_{i}" for i, name in enumerate(dict.fromkeys(arguments + stored))}

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self.numbers.get(node.id, node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.arg, node.annotation = self.numbers[node.arg], None
        return node


def bodies(source: str) -> Iterator[tuple[str, int, str]]:
    """(name, lines, what it does) of every function in ``source``."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef):
            continue
        renamed = _Rename(node).visit(copy.deepcopy(node))
        body = renamed.body[1:] if ast.get_docstring(node) is not None else renamed.body
        text = ast.unparse(ast.Module(body, []))  # comments, blanks and line breaks are gone
        yield node.name, len(text.splitlines()), f"{ast.dump(renamed.args)}\n{text}"


def copies(files: Iterable[tuple[str, str, str]]) -> list[list[str]]:
    """Functions with the same body in several projects; files: (project, name, source)."""
    found = defaultdict(list)
    for project, file, source in files:
        for name, lines, body in bodies(source):
            if lines > LINES:
                found[body].append((project, f"{file}: {name}"))
    return [
        [place for _, place in places]
        for places in found.values()
        if len({project for project, _ in places}) > 1
    ]


def project_of(inside: Path) -> str:
    """Return the system's folder, or the block's file without its suffix."""
    parts = inside.with_suffix("").parts
    return "/".join(parts[:2]).removesuffix("_convert") if parts[0] == "blocks" else parts[0]


def test_no_function_is_in_two_projects() -> None:
    files = []
    for file in sorted(PROJECTS.rglob("*.py")):
        inside = file.relative_to(PROJECTS)
        files.append((project_of(inside), str(inside), file.read_text("utf-8")))
    assert {"ccnet", "blocks/cbam"} <= {project for project, _, _ in files}
    assert copies(files) == []


LONG = '''
def scale(x, factor: float = 2.0):
    """Scale."""
    total = 0
    for row in x:
        # every value
        for value in row:
            if value > 0:
                total += value * factor
            else:
                total -= value
    mean = total / len(x)
    return [[value / mean for value in row] for row in x]
'''
RENAMED = LONG.replace("scale", "other").replace("total", "sum_").replace("factor", "by")


def test_the_test_sees_a_renamed_copy_and_nothing_else() -> None:
    assert copies([("a", "a/x.py", LONG), ("b", "b.py", RENAMED)]) == [
        ["a/x.py: scale", "b.py: other"]
    ]
    assert copies([("a", "a/x.py", LONG), ("a", "a/y.py", RENAMED)]) == [], "one project"
    different = RENAMED.replace("value > 0", "value > 1")
    assert copies([("a", "a/x.py", LONG), ("b", "b.py", different)]) == []
    short = "def f(x):\n    return x + 1\n"
    assert copies([("a", "a.py", short), ("b", "b.py", short)]) == []
