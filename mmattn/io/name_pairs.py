"""Rename the weights of one layout to those of another, by pairs of modules.

A pair is a module there and here; ``#`` stands for a number that both share. What comes behind a
module, ``.weight`` for instance, is the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from .convert import StateDict, rename_keys

Pairs = list[tuple[str, str]]


def under(theirs: str, ours: str, pairs: Iterable[tuple[str, str]]) -> Pairs:
    """Put prefixes in front of the names of both sides."""
    return [(theirs + there, ours + here) for there, here in pairs]


def renamed(state_dict: StateDict, pairs: Pairs, *, back: bool = False) -> StateDict:
    """Rename all keys.

    Args:
        state_dict: Weights.
        pairs: Names of modules there and here.
        back: From here to there.

    Raises:
        CheckpointError: A key belongs to no module.
    """
    rename = _renaming([(ours, theirs) if back else (theirs, ours) for theirs, ours in pairs])
    return rename_keys(state_dict, rename)


def _renaming(pairs: Pairs) -> Callable[[str], str | None]:
    # The longest name first: "adapter_1.norm" before "adapter_1".
    ordered = sorted(pairs, key=lambda pair: -len(pair[0]))
    patterns = [
        (re.compile(re.escape(source).replace(r"\#", r"(\d+)") + r"((?:\..+)?)"), target)
        for source, target in ordered
    ]

    def rename(key: str) -> str | None:
        for pattern, target in patterns:
            if match := pattern.fullmatch(key):
                *numbers, rest = match.groups()
                for number in numbers:
                    target = target.replace("#", number, 1)
                return target + rest
        return None

    return rename
