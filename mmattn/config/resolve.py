"""Turn the config that was read into the one that is run, by an ordered list of named steps.

The steps of a training or a test (work dir, mixed precision, hooks that every run gets, ...) are
lists of ``Step`` in ``mmattn.engine``; here they are applied, to a copy, and what each of them
changed is written down, so that it can be shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .walk import walk

if TYPE_CHECKING:
    from mmengine.config import Config

#: Stands for a setting that is not there.
ABSENT = "(not set)"


@dataclass(frozen=True)
class Step:
    """One change of a config.

    Attributes:
        name: Name of the step, in plain words.
        apply: Function that returns the changed config; it may change and return the one that it
            is given, which is a copy.
    """

    name: str
    apply: Callable[[Config], Config]


@dataclass(frozen=True)
class Change:
    """One setting that a step changed.

    Attributes:
        step: Name of the step.
        path: Dotted path of the setting.
        before: Value before the step; ``ABSENT`` where there was none.
        after: Value behind the step; ``ABSENT`` where there is none.
    """

    step: str
    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        before = "" if self.before is ABSENT else f" (was {self.before!r})"
        after = "removed" if self.after is ABSENT else repr(self.after)
        return f"{self.step}: {self.path} = {after}{before}"


@dataclass(frozen=True)
class Resolution:
    """A resolved config and how it came about.

    Attributes:
        cfg: The config behind the last step.
        changes: Every setting that changed, in the order of the steps.
    """

    cfg: Config
    changes: tuple[Change, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.changes)) or "no step changes this config"


def resolve(cfg: Config, steps: Iterable[Step]) -> Resolution:
    """Apply ``steps`` to a copy of ``cfg``, one after the other.

    Args:
        cfg: Config to start from; it is not changed.
        steps: Steps in their order.

    Raises:
        MMAttnError: What a step finds wrong.
    """
    cfg = deepcopy(cfg)
    settings = _settings(cfg)
    changes: list[Change] = []
    for step in steps:
        cfg = step.apply(cfg)
        before, settings = settings, _settings(cfg)
        changes += _differences(step.name, before, settings)
    return Resolution(cfg, tuple(changes))


def _settings(cfg: Config) -> dict[str, Any]:
    """Return the leaves of a config (and what is empty) by their paths."""
    return {
        path: value
        for path, value in walk(cfg.to_dict())
        if path and not (isinstance(value, (Mapping, list, tuple)) and value)
    }


def _differences(step: str, before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    paths = dict.fromkeys([*after, *before])
    pairs = ((path, before.get(path, ABSENT), after.get(path, ABSENT)) for path in paths)
    return [Change(step, *pair) for pair in pairs if not _equal(pair[1], pair[2])]


def _equal(first: Any, second: Any) -> bool:
    try:
        return first is second or bool(first == second)
    except (TypeError, ValueError):  # arrays and their like
        return False
