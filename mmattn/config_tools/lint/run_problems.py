"""Rules that are the checks before a run, with the file and line of each problem."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mmattn.config.numerics import numerics_problems
from mmattn.config.ranks import ranks_problems
from mmattn.config.walk import LOADERS
from mmattn.preflight.backbone_stages import backbone_problems
from mmattn.preflight.config_arguments import argument_problems
from mmattn.preflight.config_keys import nearest_read_key
from mmattn.preflight.config_types import type_problems
from mmattn.preflight.ranges import range_problems
from mmattn.preflight.schedule import schedule_problems
from mmattn.preflight.signatures import signature_problems
from mmattn.preflight.structure import structure_problems

from ..trace import Trace

_KEY = re.compile(r"[\w.\[\]]+")


def splits_of(trace: Trace) -> list[str]:
    """Return the splits that a config has data for."""
    return [key.partition("_")[0] for key in LOADERS if trace.cfg.get(key) is not None]


def is_whole(trace: Trace) -> bool:
    """Return whether a config is run as it is, not a part for others."""
    return bool(trace.cfg.get("model")) and bool(splits_of(trace))


def is_run(trace: Trace) -> bool:
    """Return whether a config says where its types are, as every one that is run does."""
    return is_whole(trace) or trace.cfg.get("default_scope") is not None


def top_level_keys(trace: Trace) -> Iterator[tuple[str, str]]:
    """Yield top-level keys that are one slip away from one that is read."""
    for key in trace.cfg:
        near = nearest_read_key(key) if not key.startswith("_") else None
        if near:
            yield key, f"nothing reads the key {key!r}. Did you mean {near!r}?"


def type_names(trace: Trace) -> Iterator[tuple[str, str]]:
    """Yield types that no registry has."""
    yield from _placed(type_problems(trace.cfg, splits_of(trace)))


def argument_names(trace: Trace) -> Iterator[tuple[str, str]]:
    """Yield arguments that a class does not take, lacks, or cannot take as they are."""
    splits = splits_of(trace)
    yield from _placed(argument_problems(trace.cfg, splits))
    yield from _placed(signature_problems(trace.cfg, splits, whole=is_whole(trace)))


def numbers(trace: Trace) -> Iterator[tuple[str, str]]:
    """Yield numbers that cannot be meant."""
    splits = splits_of(trace)
    yield from _placed(schedule_problems(trace.cfg, splits))
    yield from _placed(range_problems(trace.cfg, splits))
    yield from _placed(numerics_problems(trace.cfg))
    yield from _placed(ranks_problems(trace.cfg))


def structure(trace: Trace) -> Iterator[tuple[str, str]]:
    """Yield sections that do not go together, and stages that a backbone lacks."""
    splits = splits_of(trace)
    yield from _placed(structure_problems(trace.cfg, splits, whole=is_whole(trace)))
    yield from _placed(backbone_problems(trace.cfg))


def _placed(problems: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield problems with the key that each begins with."""
    for problem in problems:
        found = _KEY.match(problem)
        yield found[0].rstrip(".") if found else "", problem
