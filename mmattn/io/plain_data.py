"""Read YAML and JSON as data: numbers, texts, lists and mappings, and never an object.

PyYAML's full loaders build any object that a tag names (``!!python/object/apply:os.system``). Here
a tag that is not YAML's own is an error with file and line. So are keys that a mapping has twice,
of which a reader would take the last without a word, and documents that contain themselves or
expand to more than a million values by references to references ("billion laughs").
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

from mmattn.errors import DataError, MMAttnError

#: Largest number of values that a YAML document may stand for, references written out.
MOST_VALUES = 1_000_000


class _TwiceError(ValueError):
    """Raised for a key that a JSON object has twice."""


def read_text(path: str | Path, error: type[MMAttnError] = DataError) -> str:
    """Read a text in UTF-8, with or without a byte order mark.

    Args:
        path: Path of the file.
        error: Class of the error that is raised.

    Raises:
        MMAttnError: The file cannot be read, or is in another encoding; of class ``error``.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise error(f"{path} is not a file that can be read")
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise error(f"{path} is not a text in UTF-8 ({cause}). Save it as UTF-8") from cause
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause}") from cause


def parse_json(
    text: str,
    name: str | Path,
    error: type[MMAttnError] = DataError,
    *,
    unique_keys: bool = True,
) -> Any:
    """Parse a JSON document.

    Args:
        text: Content of the file.
        name: Path of the file, used in messages.
        error: Class of the error that is raised.
        unique_keys: Whether to refuse an object that has a key twice; else the last one is taken.

    Raises:
        MMAttnError: The text is not JSON, or an object has a key twice; of class ``error``.
    """
    try:
        return json.loads(text, object_pairs_hook=_once if unique_keys else None)
    except _TwiceError as cause:
        raise error(f"{name}: {cause}: the last one would be taken. Remove one") from cause
    except json.JSONDecodeError as cause:
        raise error(
            f"{name} is not valid JSON ({cause}; {len(text)} characters): it may have been cut "
            "off. Export or copy it again"
        ) from cause
    except RecursionError as cause:
        raise error(f"{name} is not data: its lists are nested too deeply") from cause
    except ValueError as cause:  # a number of more digits than Python converts
        raise error(f"{name} cannot be read as JSON: {cause}") from cause


def parse_yaml(
    text: str, name: str | Path, error: type[MMAttnError] = DataError, *, fast: bool = False
) -> Any:
    """Parse a YAML document.

    Args:
        text: Content of the file.
        name: Path of the file, used in messages.
        error: Class of the error that is raised.
        fast: Take the loader in C, which limits no depth: for files that mmattn brings along.

    Raises:
        MMAttnError: The text is not YAML, has a tag that would make an object, a key twice, or
            expands without bound; of class ``error``.
    """
    import yaml

    try:
        loader = yaml_loader(fast=fast)(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_nodes(node, name, error)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except MMAttnError:
        raise
    except yaml.constructor.ConstructorError as cause:
        line = cause.problem_mark.line + 1 if cause.problem_mark else "?"
        raise error(f"{name}, line {line}: {cause.problem}. {_TAG_FIX}") from cause
    except yaml.MarkedYAMLError as cause:
        line = f"line {cause.problem_mark.line + 1}: " if cause.problem_mark else ""
        text = " ".join(str(cause.problem or cause).split())
        raise error(f"{name} is not valid YAML ({line}{text})") from cause
    except yaml.YAMLError as cause:
        raise error(f"{name} is not valid YAML: {' '.join(str(cause).split())}") from cause
    except RecursionError as cause:
        raise error(f"{name} is not data: its lists are nested too deeply") from cause
    except ValueError as cause:  # a date or number that is none
        raise error(f"{name} cannot be read as YAML: {cause}") from cause


_TAG_FIX = "Write plain values: text, numbers, lists and mappings"
#: The one tag of PyYAML's own that stands for plain values; configs that mmengine wrote have it.
_TUPLE = "tag:yaml.org,2002:python/tuple"


@functools.cache
def yaml_loader(*, fast: bool = False) -> Any:
    """Return PyYAML's safe loader, with tuples as mmengine writes them.

    Args:
        fast: Whether to take the one in C, which limits no depth.
    """
    import yaml

    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader) if fast else yaml.SafeLoader
    loader = type("PlainLoader", (base,), {})
    loader.add_constructor(_TUPLE, lambda self, node: tuple(self.construct_sequence(node, True)))
    return loader


def line_of(text: str, path: tuple[str | int, ...]) -> int | None:
    """Return the line, from 1 on, of a value in a YAML or JSON document; None if it is not found.

    Args:
        text: Content of the file.
        path: Keys and indices that lead to the value.
    """
    import yaml

    try:
        node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
        for step in path:
            if isinstance(node, yaml.MappingNode):
                node = next(value for key, value in node.value if key.value == str(step))
            elif isinstance(node, yaml.SequenceNode):
                node = node.value[int(step)]
            else:  # a value that holds nothing
                return None
        return node.start_mark.line + 1
    except (yaml.YAMLError, StopIteration, LookupError, TypeError, ValueError, RecursionError):
        return None


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value of a file is a finite number that a float can hold.

    JSON and YAML have whole numbers of any length, of which ``math.isfinite`` raises an error;
    Python compares them with a float exactly. Truth values are no numbers.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) <= sys.float_info.max


def _once(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) < len(items):
        seen: set[str] = set()
        twice = next(key for key, _ in items if key in seen or seen.add(key))
        raise _TwiceError(f"an object has the key {twice!r} twice")
    return found


def _check_nodes(root: Any, name: str | Path, error: type[MMAttnError]) -> None:
    """Refuse tags, keys that are there twice, and documents that expand without bound."""
    import yaml

    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size_of(node: Any) -> int:
        if id(node) in sizes:
            return sizes[id(node)]
        line = node.start_mark.line + 1
        if id(node) in open_nodes:
            raise error(f"{name}, line {line}: a value contains itself. {_TAG_FIX}")
        known = node.tag.startswith("tag:yaml.org,2002:") and "python" not in node.tag
        if not known and node.tag != _TUPLE:
            shown = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise error(
                f"{name}, line {line}: the tag {shown} asks for an object of a program; a file of "
                f"data makes none. {_TAG_FIX}"
            )
        open_nodes.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _refuse_twins(node, name, error)
        total = 1 + sum(map(size_of, _children(node)))
        open_nodes.discard(id(node))
        if total > MOST_VALUES:
            raise error(
                f"{name}, line {line}: references to references stand for more than "
                f"{MOST_VALUES} values. Write the values out"
            )
        sizes[id(node)] = total
        return total

    size_of(root)


def _children(node: Any) -> Iterator[Any]:
    import yaml

    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _refuse_twins(node: Any, name: str | Path, error: type[MMAttnError]) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key.value, str) or key.value == "<<":
            continue
        if key.value in seen:
            raise error(
                f"{name}, line {key.start_mark.line + 1}: the key {key.value!r} is there twice: "
                "the last one would be taken. Remove one"
            )
        seen.add(key.value)
