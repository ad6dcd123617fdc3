"""Write settings as Python, JSON or YAML that loads again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from mmattn.config.walk import walk
from mmattn.errors import ConfigError

FORMATS = ("py", "json", "yaml")
_WIDTH = 100
_PLAIN = (str, bytes, bool, int, float, complex, type(None), Mapping, list, tuple, set)


def config_text(
    settings: Mapping[str, Any], form: str = "py", notes: list[str] | None = None
) -> str:
    """Write settings as a file of a config.

    Args:
        settings: Plain settings by their top-level keys.
        form: ``py``, ``json`` or ``yaml``.
        notes: Comments to begin with; JSON has none.

    Raises:
        ConfigError: A value cannot be written in this form.
    """
    _check(settings, form)
    if form == "json":
        return json.dumps(settings, indent=2)
    comments = "".join(f"# {note}\n" for note in notes or ())
    if form == "yaml":
        import yaml

        listed = _without_tuples(settings)
        return comments + yaml.safe_dump(listed, sort_keys=False, width=_WIDTH).rstrip()
    lines = [f"{key} = {python_text(value, 0, len(key) + 3)}" for key, value in settings.items()]
    return comments + "\n".join(lines)


def python_text(value: Any, indent: int = 0, used: int = 0) -> str:
    """Return a plain value as Python, in several lines where it is long.

    Args:
        value: Plain value.
        indent: Columns before the lines after the first.
        used: Columns of the first line that are taken.
    """
    flat = _flat(value)
    if indent + used + len(flat) <= _WIDTH - 2 or not isinstance(value, (Mapping, list, tuple)):
        return flat
    if not value:
        return flat
    inner = indent + 4
    pad = " " * inner
    if isinstance(value, Mapping):
        named = _is_named(value)
        heads = [f"{key}=" if named else f"{_flat(key)}: " for key in value]
        items = [
            f"{pad}{head}{python_text(one, inner, len(head))},"
            for head, one in zip(heads, value.values(), strict=True)
        ]
        opening, closing = ("dict(", ")") if named else ("{", "}")
    else:
        items = [f"{pad}{python_text(one, inner)}," for one in value]
        opening, closing = ("[", "]") if isinstance(value, list) else ("(", ")")
    return "\n".join([opening, *items, f"{' ' * indent}{closing}"])


def tuples_in(settings: Any) -> list[str]:
    """Return the keys of tuples, which JSON and YAML do not have."""
    return [path for path, value in walk(settings) if isinstance(value, tuple)]


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        if _is_named(value):
            return f"dict({', '.join(f'{key}={_flat(one)}' for key, one in value.items())})"
        return f"{{{', '.join(f'{_flat(key)}: {_flat(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flat, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_flat, value))}{',' * (len(value) == 1)})"
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, str) and '"' not in value:
        return json.dumps(value, ensure_ascii=False) if value.isprintable() else repr(value)
    return repr(value)


def _is_named(value: Mapping[Any, Any]) -> bool:
    import keyword

    return bool(value) and all(
        isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key) for key in value
    )


def _check(settings: Mapping[str, Any], form: str) -> None:
    for path, value in walk(settings):
        if not isinstance(value, _PLAIN):
            raise ConfigError(
                f"{path} is a {type(value).__name__}, which no file of a config can hold: ask for "
                "another --key"
            )
        kinds = {"json": (set, bytes, complex), "yaml": (set, bytes, complex)}.get(form, ())
        infinite = form == "json" and isinstance(value, float) and not math.isfinite(value)
        if isinstance(value, kinds) or infinite:
            raise ConfigError(f"{path}={value!r} cannot be written as {form}: use --format py")


def _without_tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_tuples(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_tuples(one) for one in value]
    return value
