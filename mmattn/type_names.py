"""The names under which configs give types: with or without a scope, or as the class itself."""

from __future__ import annotations

from typing import Any


def scope_and_name(type_name: Any, scope: str | None) -> tuple[str | None, str]:
    """Split a ``type`` of a config into scope and bare name.

    Args:
        type_name: Registered name, with or without scope, or the class itself.
        scope: Scope of names that carry none.

    Example:
        >>> scope_and_name("CocoMetric", "mmdet")
        ('mmdet', 'CocoMetric')
    """
    if not isinstance(type_name, str):
        module = getattr(type_name, "__module__", "")
        return module.partition(".")[0], getattr(type_name, "__name__", "")
    prefix, _, name = type_name.rpartition(".")
    return prefix or scope, name


def bare_name(type_name: Any) -> str:
    """Return a ``type`` of a config without its scope; "" for None."""
    return scope_and_name(type_name, None)[1]
