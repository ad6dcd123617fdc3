"""For how long a process has computed nothing, by the clock of the processor.

A rank that compiles, tunes or reads data spends time of the processor, its own or that of processes
which it has started: compilers, loader workers. One that hangs in a lock, or waits for another rank
in a collective operation of gloo, spends none.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

#: Share of the clock below which a process computes nothing: threads that only look whether there
#: is something to do (gloo's, NCCL's, the watch's own) take 0.1 to 0.3 %.
NOTHING = 0.02


class IdleTime:
    """Seconds since a process last computed something; to be asked again and again.

    Args:
        longest_gap: Seconds between two questions after which nothing is known: this process was
            stopped in between, or kept from asking.
        spent: Returns the seconds of the processor that were spent so far.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        longest_gap: float,
        spent: Callable[[], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.longest_gap = longest_gap
        self._spent, self._clock = spent or processor_seconds, clock
        self._asked = self._since = clock()
        self._before = self._spent()

    def seconds(self, since: float) -> float:
        """Return for how long nothing was computed, but no longer than since a time."""
        now, spent = self._clock(), self._spent()
        computed = abs(spent - self._before) > NOTHING * (now - self._since)
        if computed or now - self._asked > self.longest_gap or self._since < since:
            self._since, self._before = now, spent
        self._asked = now
        return now - self._since


def processor_seconds() -> float:
    """Return the seconds of the processor that this process and those below it have spent.

    Where the system does not list the processes below (no ``/proc``), those that have ended count.
    """
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    return own + sum(map(_seconds_with_children, _children("self")))


def _seconds_with_children(pid: str) -> float:
    try:
        # Behind the name in brackets, which may hold anything: field 3 and on of proc(5).
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:  # it has ended
        return 0.0
    ticks = sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return ticks / os.sysconf("SC_CLK_TCK") + sum(map(_seconds_with_children, _children(pid)))


def _children(pid: str) -> list[str]:
    found: list[str] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                found += Path(f"/proc/{pid}/task/{thread}/children").read_text("ascii").split()
    return found
