"""Rule about schedules and the length of a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmattn.config.walk import parts_of
from mmattn.preflight.numbers import is_number
from mmattn.preflight.training import late_schedules, length_of
from mmattn.type_names import bare_name

from ..trace import Trace

#: Schedules that fall until their end; one that is cut off never gets there.
_FALLING = ("PolyLR", "CosineAnnealingLR", "QuadraticWarmupLR")


def schedule_ends(trace: Trace) -> Iterator[tuple[str, str]]:
    """Yield schedules that begin behind the training's end, or end behind it."""
    for text in late_schedules(trace.cfg):
        yield text.partition("=")[0], text
    loop = trace.cfg.get("train_cfg")
    by_epoch, length = length_of(loop if isinstance(loop, Mapping) else {})
    if not is_number(length):
        return
    for place, one in parts_of(trace.cfg.get("param_scheduler"), "param_scheduler"):
        if one.get("by_epoch", True) == by_epoch and _is_cut(one, length):
            yield (
                f"{place}.end",
                f"{place}.end={one['end']}, but the training ends at {length}: the learning rate "
                "never gets to the end of this schedule",
            )


def _is_cut(one: Mapping[str, Any], length: float) -> bool:
    begin, end = one.get("begin", 0), one.get("end")
    falls = bare_name(one.get("type")) in _FALLING
    return falls and is_number(end) and is_number(begin) and begin < length < end
