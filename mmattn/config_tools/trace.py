"""Read a config and keep, for every key, each file and line that set it.

The files are read by mmengine's rules but by code of our own: mmengine's reader forgets where a
value came from. What is read is then compared with what mmengine reads, so that a difference cannot
pass unseen.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.config import find_config
from mmattn.config.find import find_base
from mmattn.config.load import prepare, read_file
from mmattn.io.plain_data import line_of, parse_json, parse_yaml

from .running import inherited, run
from .trace_lazy import read_lazy
from .traced import (
    Read,
    Setting,
    Site,
    TracedDict,
    TracedList,
    TracedTuple,
    merge_into,
    plain,
    settings_only,
    traced_sequence,
)

if TYPE_CHECKING:
    from mmengine.config import Config

_BASE = "_base_"
_FILE_VARIABLES = ("fileDirname", "fileBasename", "fileBasenameNoExtension", "fileExtname")


@dataclass(frozen=True)
class Trace:
    """A config that was read, and where each setting is from.

    Attributes:
        path: The config.
        root: All settings with their history.
        cfg: The config as it is run.
        bases: File -> files that it inherits directly, of all that were read.
        untraced: Paths whose value here was not that of mmengine; mmengine's is taken.
    """

    path: Path
    root: TracedDict
    cfg: Config
    bases: Mapping[Path, tuple[Path, ...]]
    untraced: tuple[str, ...]


def trace_config(name: str | Path, cfg_options: dict[str, Any] | None = None) -> Trace:
    """Read the config called ``name`` and trace its settings.

    Args:
        name: A path, or ``package::path``.
        cfg_options: Options as those of ``load_config``.

    Raises:
        ConfigError: The config cannot be read.
    """
    path = find_config(name)
    raw = read_file(path)
    reader = _Reader()
    root = reader.read(path.absolute())
    values = raw.to_dict()
    for key in [key for key in root if key not in values]:
        dict.pop(root, key)  # mmengine drops what is imported or begins with "__"
    untraced: list[str] = []
    sync(root, values, Site(None, 0, note="mmengine's reader"), untraced)
    cfg = prepare(deepcopy(raw))
    sync(root, cfg.to_dict(), Site(None, 0, note="pairs of sizes become tuples"), [])
    for option, value in (cfg_options or {}).items():
        done = {key: cfg_options[key] for key in _up_to(cfg_options or {}, option)}
        cfg = prepare(deepcopy(raw), done)
        shown = f"the option {option}={value}"
        sync(root, cfg.to_dict(), Site(None, 0, note=shown), [])
    return Trace(path.absolute(), root, cfg, reader.bases, tuple(untraced))


def _up_to(options: Mapping[str, Any], last: str) -> list[str]:
    keys = list(options)
    return keys[: keys.index(last) + 1]


class _Reader:
    """Reads configs and their bases into traced settings."""

    def __init__(self) -> None:
        self.bases: dict[Path, tuple[Path, ...]] = {}

    def read(self, path: Path) -> TracedDict:
        """Return the settings of a config with those of its bases."""
        if path.suffix == ".py":
            text = _substituted(path, "_base_.{}")
            tree = ast.parse(text)
            if _is_lazy(tree):
                return read_lazy(path, self.bases)
            return self._read_python(path, tree)
        return self._read_data(path)

    def _read_python(self, path: Path, tree: ast.Module) -> TracedDict:
        names: Any = []
        for node in tree.body:
            if isinstance(node, ast.Assign) and _targets(node, _BASE):
                names = eval(compile(ast.Expression(node.value), str(path), "eval"))
                break
        base = self._read_bases(path, names)
        tree.body = [n for n in tree.body if not (isinstance(n, ast.Assign) and _targets(n, _BASE))]
        namespace = TracedDict(Site(path, 0))
        dict.__setitem__(namespace, _BASE, base)
        run(path, tree, namespace)
        dict.pop(namespace, _BASE, None)
        own = TracedDict(Site(path, 0))
        for key in settings_only(namespace):
            own.record(key, namespace[key], namespace.history(key))
        if "_deprecation_" in own:
            dict.pop(own, "_deprecation_")
        own = inherited(own, None, Site(path, 0))  # parts with two names: each is merged by itself
        return merge_into(own, base)

    def _read_data(self, path: Path) -> TracedDict:
        text = _substituted(path, '"_base_.{}"')
        parse = parse_json if path.suffix == ".json" else parse_yaml
        content = parse(text, path) or {}
        base = self._read_bases(path, content.pop(_BASE, []))
        own = _with_lines(content, path, text, (), base)
        return merge_into(own, base)

    def _read_bases(self, path: Path, names: Any) -> TracedDict:
        names = names if isinstance(names, list) else [names]
        merged = TracedDict(Site(path, 0), merging=True)
        found = []
        for name in names:
            file = find_base(name, path.parent).resolve()
            scope = name.partition("::")[0] if "::" in name else None
            found.append(file)
            base = self.read(file)
            base = inherited(base, scope, Site(None, 0, note=f"{name} is of another package"))
            for key in base.recorded():
                if key in base:
                    merged.record(key, base[key], base.history(key))
        self.bases[path] = tuple(found)
        return merged


def _with_lines(value: Any, path: Path, text: str, steps: tuple, base: TracedDict) -> Any:
    site = Site(path, line_of(text, steps) or 0)
    if isinstance(value, Mapping):
        traced = TracedDict(site)
        for key, inner in value.items():
            inner_steps = (*steps, key)
            inner_site = Site(path, line_of(text, inner_steps) or 0, _data_reads(inner, base))
            made = _with_lines(inner, path, text, inner_steps, base)
            traced.record(key, made, [Setting(inner_site, made)])
        return traced
    if isinstance(value, list):
        items = (_with_lines(v, path, text, (*steps, i), base) for i, v in enumerate(value))
        return traced_sequence(TracedList, items, site)
    if isinstance(value, str) and value.startswith("_base_."):
        found: Any = base
        for key in value.split(".")[1:]:
            found = found[key]
        return found
    return value


def _data_reads(value: Any, base: TracedDict) -> tuple[Read, ...]:
    if isinstance(value, str) and value.startswith("_base_."):
        name = value.split(".")[1]
        return (Read(value, base.last(name).site if name in base else None),)
    return ()


def _substituted(path: Path, base_form: str) -> str:
    """Return the text of a config with the values of its ``{{ variables }}``."""
    import os

    text = path.read_text(encoding="utf-8")
    values = (path.parent, path.name, path.stem, path.suffix)
    for name, value in zip(_FILE_VARIABLES, values, strict=True):
        text = re.sub(r"\{\{\s*" + name + r"\s*\}\}", lambda _, v=str(value): v, text)

    def environment(found: re.Match[str]) -> str:
        return os.environ.get(found[1], found[2])

    text = re.sub(r"\{\{['\"]?\s*\$(\w+)\s*\:\s*(\S*?)\s*['\"]?\}\}", environment, text)
    return re.sub(
        r"\{\{\s*_base_\.([\w\.]+)\s*\}\}", lambda found: base_form.format(found[1]), text
    )


def _targets(node: ast.Assign, name: str) -> bool:
    return isinstance(node.targets[0], ast.Name) and node.targets[0].id == name


def _is_lazy(tree: ast.Module) -> bool:
    """Return whether a config is in mmengine's new style, which imports its bases."""
    import sys

    if any(isinstance(n, ast.Assign) and _targets(n, _BASE) for n in ast.walk(tree)):
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.With):
            return True
        if isinstance(node, ast.ImportFrom):
            top = (node.module or "").partition(".")[0]
            if node.level or top not in sys.stdlib_module_names:
                return not (node.module == "mmengine" and node.names[0].name == "Config")
        if isinstance(node, ast.Import) and any(
            alias.name.partition(".")[0] not in sys.stdlib_module_names for alias in node.names
        ):
            return True
    return False


def sync(traced: TracedDict, values: Mapping[str, Any], site: Site, changed: list[str]) -> None:
    """Give traced settings the values of others; what differs is set at ``site``.

    Args:
        traced: Settings; they are changed.
        values: Plain values.
        site: Place of what differs.
        changed: Receives the paths that differed.
    """
    _sync(traced, values, site, changed, "")


def _sync(
    traced: TracedDict, values: Mapping[str, Any], site: Site, changed: list[str], path: str
) -> None:
    for key in [key for key in traced if key not in values]:
        traced.remove_at(key, site)
        changed.append(f"{path}{key}")
    for key, value in values.items():
        place = f"{path}{key}"
        if key in traced and _fits(traced[key], value, site, changed, place):
            continue
        traced.set_at(key, value, site)
        changed.append(place)


def _fits(inner: Any, value: Any, site: Site, changed: list[str], place: str) -> bool:
    """Return whether a traced value is, or has been made, equal to a plain one."""
    if isinstance(inner, TracedDict) and isinstance(value, Mapping):
        _sync(inner, value, site, changed, f"{place}.")
        return True
    kinds = ((TracedList, list), (TracedTuple, tuple))
    if any(isinstance(inner, t) and isinstance(value, p) for t, p in kinds):
        if len(inner) != len(value):
            return False
        return all(
            _fits(one, other, site, changed, f"{place}[{index}]")
            for index, (one, other) in enumerate(zip(inner, value, strict=True))
        )
    return _equal(plain(inner), value)


def _equal(first: Any, second: Any) -> bool:
    try:
        return type(first) is type(second) and bool(first == second or first != first)
    except (TypeError, ValueError):
        return False
