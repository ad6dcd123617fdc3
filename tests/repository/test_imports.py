"""The shape of the house: what each room may import, and no circle anywhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"ops": ROOT / "custom_ops", "projects": ROOT / "projects"}

#: Room of ``mmattn`` -> rooms that it may import; each may import ``LEAVES`` and itself besides.
LEAVES = {"errors", "given_words", "lazy", "plugin_imports", "quiet", "registry",
          "training_memory", "type_names"}  # fmt: skip
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "given_words": set(),
    "lazy": set(),
    "quiet": set(),
    "plugin_imports": set(),
    "registry": set(),
    "training_memory": set(),
    "type_names": set(),
    "fonts": set(),
    "palette": set(),
    "images": set(),
    "tables": set(),
    "complexity": set(),
    "ops": set(),
    "tasks": set(),
    "plugins": {"complexity"},
    "io": {"tasks"},
    "weights": {"io"},
    "layers": {"ops"},
    "environment": {"ops"},
    "config": {"io", "tasks", "weights"},
    "data": {"images", "io", "palette"},
    "boxes": {"data", "images", "io", "palette"},
    "prepare": {"data", "images", "io"},
    "models": {"io", "layers", "plugins"},
    "bridge": {"config", "images", "io", "ops", "plugins", "weights"},
    "detections": {"fonts", "io", "palette"},
    "reports": {"fonts", "images", "io", "palette", "tables"},
    "preflight": {"boxes", "config", "data", "images", "io", "tasks"},
    "config_tools": {"config", "io", "preflight", "tables"},
    "testing": {"complexity", "io", "ops", "plugins"},
    "projects": {"io", "layers", "ops"},
    "evaluation": {"boxes", "detections", "fonts", "io", "palette", "reports"},
    "inference": {"config", "detections", "images", "io", "layers", "models", "palette", "plugins",
                  "preflight", "reports", "tasks", "weights"},
    "export": {"boxes", "complexity", "config", "detections", "environment", "evaluation",
               "images", "inference", "io", "layers", "ops", "reports", "tables", "tasks"},
    "engine": {"bridge", "complexity", "config", "data", "environment", "evaluation", "explain",
               "images", "inference", "io", "layers", "models", "preflight", "reports", "tables",
               "tasks", "weights"},
    "compare": {"config", "data", "engine", "environment", "evaluation", "export", "inference",
                "io", "layers", "plugins", "preflight", "reports", "tables", "tasks"},
    "doctor": {"config", "environment", "ops", "weights"},
    "explain": {"inference", "io", "ops", "plugins", "reports", "tables"},
    "cli": {"bridge", "compare", "config", "config_tools", "data", "doctor", "engine",
            "environment", "explain", "export", "inference", "io", "plugins", "preflight",
            "prepare", "reports", "tables", "tasks", "weights"},
    "__main__": {"cli"},
}  # fmt: skip
#: Rooms and files that name what only one family of the OpenMMLab packages has.
MAY_NAME_THE_FORKS = {"bridge", "doctor", "environment", "plugin_imports", "ops"}
#: No room is more than this share of the package's lines.
LARGEST_SHARE = 0.15


def files_of(room: str) -> list[Path]:
    folder = FOLDERS.get(room, ROOT / "mmattn" / room)
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def module_of(room: str, file: Path) -> str:
    folder = FOLDERS.get(room, ROOT / "mmattn" / room)
    inner = file.relative_to(folder).with_suffix("").parts if folder.is_dir() else ()
    return ".".join(("mmattn", room, *(part for part in inner if part != "__init__")))


def imported_modules(name: str, file: Path) -> Iterator[str]:
    """Absolute names of all that ``file`` imports, also inside functions."""
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join(filter(None, [*base, node.module]))
            # `from mmattn import io` and `from . import x` name modules too.
            inside = [f"{base}.{alias.name}" for alias in node.names]
            known = [module for module in inside if module in MODULES]
            yield from known
            if len(known) < len(inside):
                yield base


MODULES: dict[str, tuple[str, Path]] = {
    module_of(room, file): (room, file)
    for room in MAY_IMPORT
    for file in files_of(room)
    if file.exists()
}
GRAPH = {
    name: sorted({m for m in imported_modules(name, file) if m != name})
    for name, (_, file) in MODULES.items()
}


def test_every_room_is_in_the_table() -> None:
    inside = (ROOT / "mmattn").iterdir()
    rooms = {p.stem for p in inside if (p / "__init__.py").exists() or p.suffix == ".py"}
    assert rooms - {"__init__"} <= set(MAY_IMPORT), "give the new room a row in MAY_IMPORT"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_are_allowed(name: str) -> None:
    room = MODULES[name][0]
    for module in GRAPH[name]:
        package, _, rest = module.partition(".")
        if room == "ops":
            foreign = package in ("mmcv", "mmengine", "mmdet", "mmseg", "timm", "torchvision")
            assert not foreign, f"{name} imports {module}: custom_ops imports torch alone"
        if package != "mmattn" or not rest:
            continue
        target = rest.split(".")[0]
        allowed = MAY_IMPORT[room] | {room} | (LEAVES if room != "ops" else set())
        assert target in allowed, f"{name} imports {module}: {room} may not import {target}"
        assert not any(part.startswith("_") for part in module.split(".")) or target == room, (
            f"{name} imports {module}, which is private to {target}"
        )


def test_the_table_allows_nothing_that_nobody_imports() -> None:
    made = {
        (MODULES[name][0], module.split(".")[1])
        for name, modules in GRAPH.items()
        for module in modules
        if module.startswith("mmattn.")
    }
    allowed = {(room, target) for room, targets in MAY_IMPORT.items() for target in targets}
    assert allowed <= made, "take these rows out of MAY_IMPORT"


def test_only_a_named_few_touch_what_the_forks_alone_have() -> None:
    for name, (room, file) in MODULES.items():
        if room not in MAY_NAME_THE_FORKS:
            text = file.read_text(encoding="utf-8")
            named = re.search(r"\bonedl", text, re.IGNORECASE)
            assert named is None, f"{name} names a fork: that belongs to the bridge"


def test_a_project_imports_no_other_project() -> None:
    for name, (room, _) in MODULES.items():
        if room != "projects" or name.rpartition(".")[2] == "_register":
            continue
        own = project_of(name)
        for module in GRAPH[name]:
            if module.startswith("mmattn.projects.") and project_of(module) != own:
                raise AssertionError(f"{name} imports another project: {module}")


def project_of(module: str) -> str:
    """The system's folder, or the block's file (its converter belongs to it)."""
    parts = module.split(".")[2:]
    if parts[:1] == ["blocks"] and len(parts) > 1:
        return parts[1].removesuffix("_convert")
    return parts[0] if parts else ""


def test_no_circle_of_files() -> None:
    assert circle(GRAPH) is None


def test_no_circle_of_rooms() -> None:
    rooms: dict[str, list[str]] = {room: [] for room in MAY_IMPORT}
    for name, targets in GRAPH.items():
        for module in targets:
            if module in MODULES and MODULES[module][0] != MODULES[name][0]:
                rooms[MODULES[name][0]].append(MODULES[module][0])
    assert circle(rooms) is None


def circle(graph: dict[str, list[str]]) -> list[str] | None:
    """Return the nodes of one circle, if there is any."""
    done: set[str] = set()
    path: list[str] = []

    def visit(node: str) -> list[str] | None:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return None
        path.append(node)
        for target in graph.get(node, ()):
            found = visit(target)
            if found:
                return found
        path.pop()
        done.add(node)
        return None

    for node in graph:
        found = visit(node)
        if found:
            return found
    return None


def test_circles_are_found() -> None:
    assert circle({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]
    assert circle({"a": ["b", "c"], "b": ["c"], "c": []}) is None


def test_no_room_is_too_large() -> None:
    """The package without its two links, which are rooms of their own."""
    lines = {
        room: sum(
            len(f.read_text(encoding="utf-8").splitlines()) for f in files_of(room) if f.exists()
        )
        for room in MAY_IMPORT
        if room not in FOLDERS
    }
    total = sum(lines.values())
    large = {room: count / total for room, count in lines.items() if count > LARGEST_SHARE * total}
    assert not large, "a room outgrew the house: split it"


def test_configs_hold_names_only() -> None:
    for file in (ROOT / "configs").rglob("*.py"):
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        imported = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
        assert not imported, f"{file} imports code; a config only names things"
