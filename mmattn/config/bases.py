"""The bases of a config, looked up before it is read: all that are missing, with their nearest."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmattn.errors import ConfigError, MMAttnError
from mmattn.io.plain_data import parse_json, parse_yaml, read_text

from .find import find_base

_KEY = "_base_"


def check_bases(path: Path) -> None:
    """Refuse a config whose bases, or those of its bases, do not exist.

    Configs that import their bases (``read_base()``) and files that cannot be read pass: reading
    them tells more.

    Args:
        path: Path of the config.

    Raises:
        ConfigError: A base is missing, or ``_base_`` is misspelt or names no paths; the message
            lists all.
    """
    problems = list(dict.fromkeys(_problems(path, set(), ())))
    if len(problems) == 1:
        raise ConfigError(problems[0])
    if problems:
        problems = [one.replace(" the config cannot be read:", "") for one in problems]
        raise ConfigError("\n  ".join([f"{path}: {len(problems)} bases are wrong:", *problems]))


def _problems(path: Path, seen: set[Path], chain: tuple[Path, ...]) -> Iterator[str]:
    place = path.resolve()
    if place in chain:
        circle = [*chain[chain.index(place) :], place]
        shown = " -> ".join(file.name for file in circle)
        yield f"{path}: {_KEY} goes in a circle: {shown}. Take one of them out"
        return
    if place in seen:
        return
    seen.add(place)
    settings = literals(path)
    for name, value in settings.items():
        if _is_misspelt(name, value) and _KEY not in settings:
            yield f"{path}: {name} = {value!r} names configs, but bases are read from {_KEY!r} only"
    bases = settings.get(_KEY, [])
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str) or not base:
            yield f"{path}: {_KEY} = {bases!r:.80} must be the path of a config, or a list of paths"
            return
        if "{{" in base or "{$" in base:
            continue
        try:
            yield from _problems(find_base(base, path.parent), seen, (*chain, place))
        except ConfigError as error:
            yield f"{path}: the config cannot be read: {_KEY}: {error}"


def _is_misspelt(name: Any, value: Any) -> bool:
    """Return whether a setting holds paths of configs under a name near ``_base_``."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(name, str) or not isinstance(values, (list, tuple)) or not values:
        return False
    paths = all(isinstance(one, str) and one.endswith((".py", ".json", ".yaml")) for one in values)
    bare = name.strip("_").lower()
    near = bare == "bases" or (len(bare) in (3, 4, 5) and len(set(bare) & set("base")) >= 3)
    return paths and near and name != _KEY


def literals(path: Path) -> Mapping[str, Any]:
    """Return the top-level settings of a config that are written out; {} if it is broken."""
    try:
        text = read_text(path)
        if path.suffix != ".py":
            parse = parse_json if path.suffix == ".json" else parse_yaml
            content = parse(text, path)
            return content if isinstance(content, Mapping) else {}
        tree = ast.parse(text)
    except (MMAttnError, ValueError, SyntaxError, RecursionError, MemoryError):
        return {}
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue  # computed
    return found
