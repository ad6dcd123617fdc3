"""Compare two configs key by key; steps of pipelines are compared with their like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from mmattn.config.walk import rewrite
from mmattn.type_names import scope_and_name

from .places import leaves, shown_value

ABSENT = object()
_COLOURS = {"+": "\033[32m", "-": "\033[31m", "~": "\033[33m"}
_PLAIN = "\033[0m"


@dataclass(frozen=True)
class Difference:
    """One setting that two configs do not share.

    Attributes:
        path: Key; of an element of a list that of the first config, if it has the element.
        before: Value in the first config, or ``ABSENT``.
        after: Value in the second config, or ``ABSENT``.
    """

    path: str
    before: Any
    after: Any

    @property
    def sign(self) -> str:
        """``+`` for an added setting, ``-`` for a removed, ``~`` for a changed one."""
        return "+" if self.before is ABSENT else "-" if self.after is ABSENT else "~"

    def __str__(self) -> str:
        if self.before is ABSENT:
            return f"+ {self.path} = {shown_value(self.after, 200)}"
        if self.after is ABSENT:
            return f"- {self.path} = {shown_value(self.before, 200)}"
        before, after = shown_value(self.before, 200), shown_value(self.after, 200)
        return f"~ {self.path}: {before} -> {after}"


def without_own_scope(settings: Mapping[str, Any]) -> Any:
    """Return settings without the ``_scope_`` marks that say what ``default_scope`` says already.

    mmengine writes them into what is inherited from another package.
    """
    own = settings.get("default_scope")

    def change(path: str, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("_scope_") == own:
            return {key: inner for key, inner in value.items() if key != "_scope_"}
        return value

    return rewrite(settings, change)


def differences(first: Any, second: Any, path: str = "") -> Iterator[Difference]:
    """Yield what differs between two plain values, from the first key on.

    Lists of blocks with a ``type`` are aligned by their types, so that one step more in a pipeline
    is one difference.

    Args:
        first: Settings of any depth.
        second: Settings to compare with.
        path: Key of both.

    Example:
        >>> [str(one) for one in differences({"a": 1, "b": 2}, {"a": 3, "b": 2})]
        ['~ a: 1 -> 3']
    """
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in dict.fromkeys([*first, *second]):
            place = f"{path}.{key}" if path else str(key)
            if key not in second:
                yield from _gone(first[key], place)
            elif key not in first:
                yield from _new(second[key], place)
            else:
                yield from differences(first[key], second[key], place)
    elif _are_blocks(first) and _are_blocks(second):
        yield from _aligned(first, second, path)
    elif not _equal(first, second):
        yield Difference(path, first, second)


def _aligned(first: Sequence[Any], second: Sequence[Any], path: str) -> Iterator[Difference]:
    names = [[scope_and_name(one["type"], None)[1] for one in side] for side in (first, second)]
    matcher = SequenceMatcher(None, *names, autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal" or (tag == "replace" and i2 - i1 == j2 - j1):
            for offset in range(i2 - i1):
                place = f"{path}[{i1 + offset}]"
                yield from differences(first[i1 + offset], second[j1 + offset], place)
            continue
        for index in range(i1, i2):
            yield Difference(f"{path}[{index}]", first[index], ABSENT)
        for index in range(j1, j2):
            yield Difference(f"{path}[{index}]", ABSENT, second[index])


def _gone(value: Any, path: str) -> Iterator[Difference]:
    for place, leaf in leaves(value, path):
        yield Difference(place, leaf, ABSENT)


def _new(value: Any, path: str) -> Iterator[Difference]:
    for place, leaf in leaves(value, path):
        yield Difference(place, ABSENT, leaf)


def _are_blocks(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(isinstance(one, Mapping) and "type" in one for one in value)
    )


def _equal(first: Any, second: Any) -> bool:
    try:
        return bool(first == second)
    except (TypeError, ValueError):
        return False


def diff_text(found: Sequence[Difference], *, colours: bool) -> str:
    """Write differences, one a line.

    Args:
        found: Differences.
        colours: Whether a terminal shows it.
    """
    lines = [str(one) for one in found]
    if colours:
        lines = [f"{_COLOURS[line[0]]}{line}{_PLAIN}" for line in lines]
    return "\n".join(lines)
