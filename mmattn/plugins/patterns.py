"""Find submodules by patterns such as ``layer3.*.conv2``, each ``*`` within one part of a name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from mmattn.errors import ConfigError, did_you_mean

_LISTED = 12
_PARTS = ("backbone", "neck")  # and heads, *_head


def without_part(pattern: str, network: nn.Module) -> str:
    """Return a pattern without the part of the model that it may begin with.

    ``mmattn slots`` prints ``backbone.layer3``, which ``mmattn compare --at`` takes; a submodule
    of the network that has a part's name goes first.

    >>> without_part("backbone.layer3", nn.Module())
    'layer3'
    """
    part, _, inside = pattern.partition(".")
    is_part = part in _PARTS or part.endswith("_head")
    return inside if inside and is_part and not hasattr(network, part) else pattern


def match_submodules(network: nn.Module, patterns: Iterable[str], *, where: str) -> list[str]:
    """Return the names of the submodules that match any pattern, in the network's order.

    Args:
        network: Network whose submodules are matched.
        patterns: Dotted names in which ``*``, ``?`` and ``[…]`` match within one part.
        where: Config key of the patterns, used in messages.

    Raises:
        ConfigError: A pattern matches nothing; the message lists what is there instead.
    """
    names = [name for name, _ in network.named_modules() if name and _outside_plugins(name)]
    matched: set[str] = set()
    for pattern in patterns:
        fitting = [name for name in names if _matches(name.split("."), pattern.split("."))]
        if not fitting:
            raise ConfigError(
                f"{where}={pattern!r} matches no submodule of {type(network).__name__}."
                f"{_what_exists(names, pattern.split('.'))}"
            )
        matched.update(fitting)
    return [name for name in names if name in matched]


def _outside_plugins(name: str) -> bool:
    return name.partition(".")[0] != "plugins"


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    return len(parts) == len(pattern) and all(map(fnmatchcase, parts, pattern))


def _what_exists(names: Sequence[str], pattern: Sequence[str]) -> str:
    """List what lies below the longest beginning of ``pattern`` that exists, the nearest first."""
    split = [name.split(".") for name in names]
    depth = 0
    while depth < len(pattern) and any(_matches(parts, pattern[: depth + 1]) for parts in split):
        depth += 1
    below = dict.fromkeys(
        parts[depth]
        for parts in split
        if len(parts) == depth + 1 and _matches(parts[:depth], pattern[:depth])
    )
    above = ".".join(pattern[:depth])
    holder = f"{above!r}" if above else "It"
    if not below:
        return f" {holder} exists, but has nothing inside."
    listed = ", ".join(list(below)[:_LISTED]) + (", …" if len(below) > _LISTED else "")
    better = {part: (*pattern[:depth], part, *pattern[depth + 1 :]) for part in below}
    fitting = [p for p in below if any(_matches(parts, better[p]) for parts in split)]
    hint = did_you_mean(pattern[depth], fitting)
    for part in fitting:
        hint = hint.replace(repr(part), repr(".".join(better[part])))
    return f"{hint} {holder} has {listed}."
