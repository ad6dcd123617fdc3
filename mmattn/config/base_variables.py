"""Variables of a base that a config sets anew, where that changes nothing.

mmengine reads a base as a whole: where it says ``dataset=dict(data_root=data_root)``, the value is
in the dataset already when a config that inherits it sets ``data_root``.
"""

from __future__ import annotations

import ast
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmattn.errors import ConfigError

from .bases import literals
from .find import find_base
from .read_keys import READ_KEYS
from .walk import LOADERS, walk

_MISSING = object()


@dataclass(frozen=True)
class LateVariable:
    """A variable that is set too late.

    Attributes:
        name: Name of the variable.
        value: Value that the config gives it, which nothing uses.
        base: File of the base that used its own.
        old: Value in that base.
    """

    name: str
    value: Any
    base: Path
    old: Any

    def __str__(self) -> str:
        return (
            f"{self.name}={self.value!r} changes nothing: its base {self.base.name} has used its "
            f"own value, {self.old!r}, already"
        )


def late_variables(cfg: Mapping[str, Any], filename: str | None) -> list[LateVariable]:
    """List variables of bases that a Python config sets to another value and does not use.

    Variables that hold settings (``dict``) are left to the check of unused blocks.

    Args:
        cfg: The whole config.
        filename: Path of the config; nothing is listed without one.
    """
    if filename is None or not filename.endswith(".py") or not Path(filename).is_file():
        return []
    path = Path(filename)
    own, used = literals(path), _loaded(path)
    found = []
    for name, value in own.items():
        if name in used or name in READ_KEYS or name.startswith("_") or not _is_plain(value):
            continue
        if name not in cfg or cfg[name] != value:
            continue  # an option has set it since
        base, old = _of_bases(path, own, name, set())
        if base is not None and _is_plain(old) and old != value:
            found.append(LateVariable(name, value, base, old))
    return found


def late_data_root(cfg: Mapping[str, Any], late: Sequence[LateVariable]) -> str | None:
    """Return what is wrong where a ``data_root`` came too late: other data would be read."""
    for variable in late:
        root = str(variable.value).rstrip("/")
        if variable.name == "data_root" and not any(_below(root, cfg.get(key)) for key in LOADERS):
            return (
                f"{variable}. Give it on the command line, "
                f"{shlex.quote(f'data_root={variable.value}')}, or write it into each dataset: "
                "train_dataloader = dict(dataset=dict(data_root=data_root)), and so on"
            )
    return None


def _below(root: str, loader: Any) -> bool:
    return any(
        isinstance(value, str) and f"{value}/".startswith(f"{root}/") for _, value in walk(loader)
    )


def _is_plain(value: Any) -> bool:
    return not any(isinstance(inner, Mapping) for _, inner in walk(value))


def _of_bases(
    path: Path, settings: Mapping[str, Any], name: str, seen: set[Path]
) -> tuple[Path | None, Any]:
    """Return the nearest base that sets and uses a variable, and its value there."""
    for base in _bases(path, settings):
        if base in seen:
            continue
        seen.add(base)
        inner = literals(base)
        value = inner.get(name, _MISSING)
        if value is not _MISSING and name in _loaded(base):
            return base, value
        found = _of_bases(base, inner, name, seen)
        if found[0] is not None:
            return found
    return None, None


def _bases(path: Path, settings: Mapping[str, Any]) -> Iterator[Path]:
    bases = settings.get("_base_") or ()
    for base in [bases] if isinstance(bases, str) else bases:
        try:
            if isinstance(base, str):
                yield find_base(base, path.parent)
        except ConfigError:
            continue  # ``check_bases`` tells it


def _loaded(path: Path) -> set[str]:
    """Return the names that a Python config reads anywhere."""
    if path.suffix != ".py":
        return set()
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return set()
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    return {node.id for node in nodes if isinstance(node.ctx, ast.Load)}
