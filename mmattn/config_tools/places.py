"""Write places of configs for people: files short, keys as they are typed, values in a line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmattn.config.walk import walk
from mmattn.errors import did_you_mean

from .traced import Site, plain

_TOKEN = re.compile(r"\[(-?\d+)\]|([^.\[\]]+)")


def tokens_of(key: str) -> list[str]:
    """Split a key into its parts; indices of lists are ``[2]`` or ``.2``.

    >>> tokens_of("train_dataloader.dataset.pipeline[2].scale")
    ['train_dataloader', 'dataset', 'pipeline', '2', 'scale']
    """
    return [index or name for index, name in _TOKEN.findall(key)]


def shown_file(path: Path) -> str:
    """Return a short name of a file: relative to here, or ``package::path``."""
    parts = path.parts
    if ".mim" in parts:
        at = len(parts) - 1 - parts[::-1].index(".mim")
        if parts[at + 1 : at + 2] == ("configs",):
            return f"{parts[at - 1]}::{'/'.join(parts[at + 2 :])}"
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def shown_site(site: Site | None) -> str:
    """Return file and line of a place, or what else it is."""
    if site is None:
        return "nowhere"
    if site.file is None:
        return site.note or "mmengine"
    return f"{shown_file(site.file)}:{site.line}" if site.line else shown_file(site.file)


def shown_value(value: Any, width: int = 60) -> str:
    """Return a value in one line, cut at ``width``."""
    text = written(plain(value))
    return text if len(text) <= width else f"{text[: width - 1]}…"


def written(value: Any) -> str:
    """Return a plain value as a config writes it."""
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and key.isidentifier() for key in value):
            return f"dict({', '.join(f'{key}={written(inner)}' for key, inner in value.items())})"
        return f"{{{', '.join(f'{key!r}: {written(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(written, value))}{',' * (len(value) == 1)})"
    return repr(value)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and value of all that holds nothing else, and of what is empty."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)) and any(isinstance(v, (Mapping, list)) for v in value):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{index}]")
    else:
        yield path, value


def value_at(settings: Any, key: str) -> tuple[bool, Any]:
    """Return whether there is a key, and its value.

    >>> value_at({"a": [{"b.c": 1}]}, "a.0.b.c")
    (True, 1)
    """
    return _value_at(settings, tokens_of(key))


def _value_at(value: Any, tokens: list[str]) -> tuple[bool, Any]:
    if not tokens:
        return True, value
    if isinstance(value, Mapping):
        for count in range(1, len(tokens) + 1):
            text = ".".join(tokens[:count])
            for key, inner in value.items():
                if str(key) == text:
                    return _value_at(inner, tokens[count:])
        return False, None
    numbered = isinstance(value, (list, tuple)) and tokens[0].lstrip("-").isdigit()
    if numbered and -len(value) <= int(tokens[0]) < len(value):
        return _value_at(value[int(tokens[0])], tokens[1:])
    return False, None


def nearest_key(settings: Any, key: str) -> str:
    """Return a did-you-mean over all keys of settings."""
    known = [path for path, _ in walk(settings) if path]
    near = did_you_mean(key, known)
    last = tokens_of(key)[-1:]
    same = [path for path in known if tokens_of(path)[-1:] == last]
    if not near and same:
        near = f" Did you mean {' or '.join(map(repr, same[:3]))}?"
    return near or f" There are {', '.join(map(str, list(settings)[:8]))}, …"
