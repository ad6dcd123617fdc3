"""The import direction of the house: an arrow may only point down."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Room -> layer. A room may import rooms of its own layer and of those below.
LAYER = {
    "ops": 0, "io": 0, "registry": 0, "errors": 0,
    "layers": 1, "structures": 1, "bridge": 1,
    "data": 2, "engine": 2, "evaluation": 2, "export": 2, "visualization": 2, "testing": 2,
    "projects": 3,
}  # fmt: skip
# Projects are built from blocks: of the services they may use none.
FORBIDDEN = {"projects": {room for room, layer in LAYER.items() if layer == 2}}
FOLDERS = {"ops": ROOT / "custom_ops", "projects": ROOT / "projects"}


def source_files() -> Iterator[tuple[str, str, Path]]:
    """(room, dotted module name, file) of every module of the package."""
    for room in LAYER:
        folder = FOLDERS.get(room, ROOT / "mmattn" / room)
        files = folder.rglob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]
        for file in files:
            if not file.exists():
                continue
            inner = file.relative_to(folder).with_suffix("").parts if folder.is_dir() else ()
            yield room, ".".join(("mmattn", room, *inner)), file


def imported_modules(name: str, file: Path) -> Iterator[str]:
    """Absolute names of all that ``file`` imports, also inside functions."""
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    package = [part for part in package if part != "__init__"]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield ".".join(filter(None, [*base, node.module or ""]))
            # `from mmattn import io` and `from . import x` name modules too.
            yield from (".".join(filter(None, [*base, node.module, a.name])) for a in node.names)


FILES = list(source_files())


def test_every_room_has_a_layer() -> None:
    rooms = {p.name for p in (ROOT / "mmattn").iterdir() if (p / "__init__.py").exists()}
    assert rooms <= set(LAYER), "give the new room a layer in this test"


@pytest.mark.parametrize(("room", "name", "file"), FILES, ids=[name for _, name, _ in FILES])
def test_imports_point_down(room: str, name: str, file: Path) -> None:
    for module in imported_modules(name, file):
        parts = module.split(".")
        if room == "ops":
            foreign = parts[0] in ("mmcv", "mmengine", "mmdet", "mmseg", "timm", "torchvision")
            assert not foreign, f"{name} imports {module}: custom_ops imports torch alone"
        if parts[0] != "mmattn" or len(parts) < 2 or parts[1] not in LAYER:
            continue
        target = parts[1]
        if room == "ops":
            assert target == "ops", f"{name} imports {module}: custom_ops imports torch alone"
        assert LAYER[target] <= LAYER[room], f"{name} imports {module}, a layer above it"
        assert target not in FORBIDDEN.get(room, ()), f"{name} imports the service {module}"
        inside = name != "mmattn.projects.__init__"  # the table of contents imports them all
        if room == "projects" == target and len(parts) > 2 and inside:
            assert parts[2] == name.split(".")[2], f"{name} imports another project: {module}"


def test_configs_hold_names_only() -> None:
    for file in (ROOT / "configs").rglob("*.py"):
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        imported = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
        assert not imported, f"{file} imports code; a config only names things"
