"""The part of JSON schema (draft 2020-12) that mmattn's own schemas use, as plain as it can be.

An editor has a whole one; a word that is not known here fails the test that needs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

_SILENT = {"$schema", "title", "description", "default", "$defs", "then", "else"}
_TYPES = {
    "object": dict, "array": (list, tuple), "string": str, "number": (int, float), "boolean": bool,
    "null": type(None),
}  # fmt: skip


def errors(value: Any, schema: Any, root: dict[str, Any], place: str = "") -> Iterator[str]:
    """Yield what of ``value`` a schema refuses, each with its place."""
    if isinstance(schema, bool):
        if not schema:
            yield f"{place}: unexpected"
        return
    for word, said in schema.items():
        if word == "$ref":
            yield from errors(value, _resolve(said, root), root, place)
        elif word == "type":
            names = [said] if isinstance(said, str) else said
            if not any(_is_a(value, name) for name in names):
                yield f"{place}: {value!r:.50} is none of {names}"
        elif word == "const":
            if value != said:
                yield f"{place}: {value!r:.50} is not {said!r}"
        elif word == "enum":
            if value not in said:
                yield f"{place}: {value!r:.50} is not one of {len(said)}"
        elif word == "pattern":
            if isinstance(value, str) and not re.search(said, value):
                yield f"{place}: {value!r:.50} does not fit {said}"
        elif word == "required":
            if isinstance(value, dict):
                yield from (f"{place}.{key}: missing" for key in said if key not in value)
        elif word == "items":
            for index, item in enumerate(value if isinstance(value, (list, tuple)) else ()):
                yield from errors(item, said, root, f"{place}[{index}]")
        elif word == "allOf":
            for one in said:
                yield from errors(value, one, root, place)
        elif word == "anyOf":
            if all(any(True for _ in errors(value, one, root, place)) for one in said):
                yield f"{place}: {value!r:.50} fits none of {len(said)}"
        elif word == "if":
            fits = not any(True for _ in errors(value, said, root, place))
            yield from errors(value, schema.get("then" if fits else "else", {}), root, place)
        elif word in ("properties", "patternProperties", "additionalProperties"):
            continue
        elif word not in _SILENT:
            raise AssertionError(f"a word that is not known here: {word}")
    if isinstance(value, dict):
        for key, inner in value.items():
            for one in _of_key(key, schema):
                yield from errors(inner, one, root, f"{place}.{key}".lstrip("."))


def _of_key(key: str, schema: dict[str, Any]) -> list[Any]:
    found = [schema["properties"][key]] if key in schema.get("properties", {}) else []
    patterns = schema.get("patternProperties", {})
    found += [one for pattern, one in patterns.items() if re.search(pattern, key)]
    return found or [schema.get("additionalProperties", True)]


def _is_a(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES[name])


def _resolve(reference: str, root: dict[str, Any]) -> Any:
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found[unquote(part).replace("~1", "/").replace("~0", "~")]
    return found
