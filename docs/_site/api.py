"""Hook of mkdocs: a page for each public package of mmattn, from its docstrings.

The packages are read, never imported, so that no torch is needed: public are the names that an
``__init__.py`` gives to ``lazy_attributes``, lists in ``__all__`` or imports from its own modules.
"""

from __future__ import annotations

import ast
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
#: Packages whose public names have a page, in the order of the navigation.
PACKAGES = (
    "mmattn.plugins", "mmattn.layers", "mmattn.models", "mmattn.ops", "mmattn.inference",
    "mmattn.detections", "mmattn.export", "mmattn.compare", "mmattn.reports", "mmattn.engine",
    "mmattn.evaluation", "mmattn.preflight", "mmattn.config", "mmattn.data", "mmattn.boxes",
    "mmattn.prepare", "mmattn.weights", "mmattn.io", "mmattn.tasks", "mmattn.images",
    "mmattn.testing", "mmattn.errors",
)  # fmt: skip


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add ``api/PACKAGE.md`` for each package."""
    for package in PACKAGES:
        files.append(File.generated(config, f"api/{package}.md", content=page(package)))
    return files


def page(package: str) -> str:
    """Return the page of one package."""
    file = _file(package)
    tree = ast.parse(file.read_text("utf-8"))
    text = (ast.get_docstring(tree) or "").replace("``", "`")
    sections = [f"# {package}", text]
    names = public_names(package)
    sections += [f"::: {home}.{name}\n    options:\n      heading_level: 2"
                 for name, home in names.items()]  # fmt: skip
    return "\n\n".join(sections) + "\n"


def public_names(package: str) -> dict[str, str]:
    """Return the public names of a package, each with the module that defines it."""
    file = _file(package)
    tree = ast.parse(file.read_text("utf-8"))
    found = _own(tree, package) if file.name != "__init__.py" else _exported(tree, package)
    if not found:  # a package that exports nothing: what its modules define
        for module in sorted(file.parent.glob("[a-z]*.py")):
            name = f"{package}.{module.stem}"
            found |= _own(ast.parse(module.read_text("utf-8")), name)
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _file(package: str) -> Path:
    path = ROOT / package.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _own(tree: ast.Module, module: str) -> dict[str, str]:
    """Return the documented classes and functions of a module."""
    kinds = (ast.ClassDef, ast.FunctionDef)
    return {
        node.name: module
        for node in tree.body
        if isinstance(node, kinds) and node.name[0] != "_" and ast.get_docstring(node)
    }


def _exported(tree: ast.Module, package: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
            found |= {
                alias.asname or alias.name: f"{package}.{node.module}"
                for alias in node.names
                if not (alias.asname or alias.name).startswith("_")
            }
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "lazy_attributes":
            homes = ast.literal_eval(node.args[1])
            found |= {name: f"{package}.{home}" for name, home in homes.items()}
    return {name: _defined(name, home) for name, home in found.items()}


def _defined(name: str, module: str) -> str:
    """Follow a name through packages that only pass it on."""
    file = _file(module)
    for node in ast.parse(file.read_text("utf-8")).body:
        if not (isinstance(node, ast.ImportFrom) and node.level == 1 and node.module):
            continue
        if any((alias.asname or alias.name) == name for alias in node.names):
            base = module if file.name == "__init__.py" else module.rpartition(".")[0]
            return _defined(name, f"{base}.{node.module}")
    return module
