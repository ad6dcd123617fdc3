"""Promise: a rank that hangs in its first step is told from one that compiles, and soon.

``test_rank_watch.py`` has two processes.
"""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from mmattn.engine.ranks import server
from mmattn.engine.ranks.hang import IDLE, OVERDUE, hangs, lateness
from mmattn.engine.ranks.idle_time import IdleTime, processor_seconds
from mmattn.engine.ranks.server import WatchServer
from mmattn.engine.ranks.watch import RankWatch


@pytest.mark.parametrize(
    ("seconds", "idle", "slowest", "late"),
    [
        (44, 44, 0, ""),
        (45, 45, 0, IDLE),
        (449, 3, 0, ""),  # it compiles
        (450, 3, 0, OVERDUE),
        (0, 45, 0, IDLE),  # the first batch, whose time has no limit
        (45, 0, 0.1, OVERDUE),
        (99, 99, 20, ""),  # steps of 20 s, on a GPU
        (100, 0, 20, OVERDUE),
    ],
)
def test_lateness(seconds: float, idle: float, slowest: float, late: str) -> None:
    assert lateness(seconds, idle, 45, slowest) == late
    assert lateness(seconds, idle, None, slowest) == ""


def answer(late: str, begun: int | None = 3, limited: bool = True) -> dict:
    return {"late": late, "begun": begun, "limited": limited}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([answer(IDLE), answer(IDLE)], True),
        ([answer(IDLE), answer("")], False),  # it waits for one that compiles
        ([answer(IDLE, 3), answer("", 2)], False),
        ([answer(IDLE, 2), answer("", 3)], True),  # the other waits for it, on a GPU
        ([answer(IDLE, None), answer("", 3)], False),
        ([answer(IDLE, None), answer("", None)], False),
        ([answer(OVERDUE), answer("")], True),
        ([answer(OVERDUE), answer("", limited=False)], False),  # it waits for an evaluation
        ([answer(IDLE, 2), answer("", 3, limited=False)], False),
    ],
)
def test_a_hang_is_told_from_waiting(answers: list[dict], expected: bool) -> None:
    assert hangs(dict(enumerate(answers))) is expected
    assert hangs(dict(enumerate(reversed(answers)))) is expected


class Idle:
    """Says that a process has computed nothing for as long as it is told."""

    def __init__(self, idle: float) -> None:
        self.idle = idle

    def seconds(self, since: float) -> float:
        return self.idle


@pytest.mark.parametrize("slowest", [0.0, 0.1], ids=["first_epoch", "later_epoch"])
@pytest.mark.parametrize(("idle", "late", "limited"), [(3.0, "", False), (50.0, IDLE, True)])
def test_a_first_batch_may_take_any_time_while_something_is_computed(
    slowest: float, idle: float, late: str, limited: bool
) -> None:
    """Another rank may be overdue in the step behind it, and waits all the same."""
    watch = RankWatch(1, 2, 45.0)
    watch._slowest, watch._idle = slowest, Idle(idle)  # type: ignore[assignment]
    watch._now = ("loading the first batch", time.monotonic() - 1000, True, False)
    said: list[dict] = []
    watch._send = said.append  # type: ignore[method-assign]
    watch._handle({"type": "ask"})
    assert [(one["late"], one["limited"]) for one in said] == [(late, limited)]
    assert hangs({0: answer(OVERDUE), 1: said[0]}) is limited


class Clocks:
    """The clock, and that of the processor, of a process that does as it is told."""

    def __init__(self) -> None:
        self.now, self.spent = 100.0, 7.0

    def pass_by(self, seconds: float, share: float) -> None:
        self.now += seconds
        self.spent += seconds * share


def test_idle_time() -> None:
    clocks = Clocks()
    idle = IdleTime(10.0, lambda: clocks.spent, lambda: clocks.now)
    for _ in range(4):
        clocks.pass_by(5, 0.003)  # threads that only wait
        idle.seconds(0)
    assert idle.seconds(0) == 20
    assert idle.seconds(118) == 0  # it has not been asked since the step began
    clocks.pass_by(5, 0.0)
    assert idle.seconds(118) == 5
    clocks.pass_by(5, 0.05)  # a process of twenty on one core
    assert idle.seconds(118) == 0
    clocks.pass_by(60, 0.0)  # stopped, perhaps
    assert idle.seconds(118) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processes_below_compute_too() -> None:
    before = processor_seconds()
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    while_it_lives = processor_seconds()
    child.communicate(b"\n")
    assert while_it_lives - before > 0.25
    assert processor_seconds() - before > 0.25


def server_after_the_start(monkeypatch, excused: bool) -> WatchServer:
    monkeypatch.setattr(server, "START", 0)
    one = WatchServer(3, "token", excused=lambda: excused)
    one._seen = {0, 2}
    one._begun -= 1
    one._tick()
    one._listener.close()
    return one


def test_a_rank_that_never_comes_is_missed(monkeypatch) -> None:
    verdict = server_after_the_start(monkeypatch, excused=False).verdict
    assert verdict is not None
    assert (verdict["rank"], verdict["code"]) == (1, 8)
    assert verdict["text"].startswith("RankError: rank 1 has not come within")


def test_a_rank_that_cannot_connect_has_come(monkeypatch) -> None:
    """Behind a firewall, say: its own warning has told that it is not watched."""
    assert server_after_the_start(monkeypatch, excused=True).verdict is None
