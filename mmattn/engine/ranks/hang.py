"""Decide whether a training hangs: by the clock, by what computes, and by who waits for whom.

The first step compiles and tunes, for minutes perhaps, so that its time alone says little. But
whoever does that computes. A rank that computes nothing in it hangs, or waits for another one. It
hangs for certain where none computes; and where it has begun fewer collective operations than
another one, since that one then waits for it (one that waits for a GPU looks as if it computed).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: A step may take this many times as long as the slowest before, whatever the limit; the first one,
#: as long as it computes, this many times the limit.
SLOWER, FIRST = 5, 10
#: Why a rank is late: over its limit of time, or computing nothing in the first step.
OVERDUE, IDLE = "overdue", "idle"


def time_limit(heartbeat: float, slowest: float) -> float:
    """Return the seconds that a step may take.

    Args:
        heartbeat: The limit that is set, in seconds.
        slowest: Seconds of the slowest step so far; 0 in the first one.
    """
    return max(heartbeat, SLOWER * slowest) if slowest else FIRST * heartbeat


def lateness(seconds: float, idle: float, heartbeat: float | None, slowest: float) -> str:
    """Return why a rank is late in its step: ``OVERDUE``, ``IDLE`` or "" where it is not.

    Args:
        seconds: For how long it has been in the step.
        idle: For how long it has computed nothing there.
        heartbeat: The limit that is set, in seconds; None for no limit.
        slowest: Seconds of the slowest step so far; 0 in the first one.
    """
    if heartbeat is None:
        return ""
    if seconds >= time_limit(heartbeat, slowest):
        return OVERDUE
    return IDLE if not slowest and idle >= heartbeat else ""


def hangs(answers: Mapping[int, Mapping[str, Any]]) -> bool:
    """Return whether a training hangs of which one rank is late, and all answer.

    Args:
        answers: Of each rank: ``limited``, whether what it does has a limit of time, or computes
            nothing although it should; ``late``, why it is late; ``begun``, how many collective
            operations it has begun, None where torch does not tell.
    """
    if not all(answer["limited"] for answer in answers.values()):
        return False  # the others wait for one that may take its time
    late = [answer["late"] for answer in answers.values()]
    if OVERDUE in late or all(late):
        return True
    begun = [answer["begun"] for answer in answers.values() if answer["begun"] is not None]
    return any(
        answer["late"] and answer["begun"] is not None and answer["begun"] < max(begun)
        for answer in answers.values()
    )


def collectives_begun() -> int | None:
    """Return how many collective operations this process has begun; None where unknown."""
    import torch.distributed as dist

    try:
        group = dist.distributed_c10d._get_default_group()
        return int(group._get_sequence_number_for_group())
    except (AttributeError, RuntimeError, ValueError):  # none yet, or another torch
        return None
