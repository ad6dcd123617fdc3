"""Promise: a rank that leaves alone takes the others along, and one that is done does not.

Two watches in one process; ``test_rank_watch.py`` has processes.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from mmattn.engine.ranks import watch as module
from mmattn.engine.ranks.watch import RankWatch
from mmattn.engine.stop_signals import InterruptedTraining, StoppedBySignal, StopSignals
from mmattn.errors import Preempted


class Watched(RankWatch):
    """Notes that it would end its process."""

    def __init__(self, rank: int) -> None:
        super().__init__(rank, 2, 45.0, StopSignals())
        self.ended = threading.Event()

    def _end(self, verdict) -> None:
        self.ended.set()


@pytest.fixture
def ranks(monkeypatch) -> Iterator[list[Watched]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    for name in ("_LATEST", "_LATEST_STOP"):
        monkeypatch.setattr(module, name, 0)
    monkeypatch.setattr(module, "_exit_soon", lambda code: None)
    both = [Watched(0), Watched(1)]
    for one in both:
        one.__enter__()
    assert both[0]._server is not None
    while len(both[0]._server._members) < 2:
        time.sleep(0.01)
    yield both
    for one in both:
        assert one._socket is not None
        one._leaving = True
        with contextlib.suppress(OSError):  # some test has closed it
            one._socket.shutdown(socket.SHUT_RDWR)


def leave(rank: Watched, error: BaseException | None, received: int = 0) -> None:
    assert rank.signals is not None
    rank.signals.received = received
    rank.__exit__(None if error is None else type(error), error, None)


LEAVES = {
    "SIGTERM": (StoppedBySignal(), signal.SIGTERM, 75, "SIGTERM: stopped before the first step"),
    "SIGUSR1": (StoppedBySignal(), signal.SIGUSR1, 75, "SIGUSR1: stopped before the first step"),
    "in mmengine": (SyntaxError("x"), signal.SIGTERM, 75, "SIGTERM: stopped before the first step"),
    "Ctrl-C": (KeyboardInterrupt(), signal.SIGINT, 130, "SIGINT: interrupted"),
    "exit": (SystemExit(0), 0, 8, "SystemExit: ended before the others"),
    "exit 3": (SystemExit(3), 0, 3, "SystemExit: ended before the others"),
    "error": (KeyError("gt"), 0, 1, "KeyError: 'gt'"),
}  # fmt: skip


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize("how", LEAVES)
def test_one_that_leaves_alone_ends_the_other(who: int, how: str, ranks: list[Watched]) -> None:
    error, received, code, text = LEAVES[how]
    leave(ranks[who], error, received)
    other = ranks[1 - who]
    assert other.ended.wait(20)
    assert other.verdict is not None
    assert (other.verdict["rank"], other.verdict["code"]) == (who, code)
    assert other.verdict["text"].startswith(text)
    assert not ranks[who].ended.is_set()  # it says itself what has stopped it


@pytest.mark.parametrize("end", [None, Preempted("saved"), InterruptedTraining("saved")])
def test_a_first_rank_that_is_done_is_not_called_killed(end, ranks: list[Watched]) -> None:
    first, second = ranks
    leave(first, end)
    assert first._server is not None
    # As the system does when the process is gone.
    first._server._members[1].connection.shutdown(socket.SHUT_RDWR)
    assert second._decided.wait(20)  # that there is nothing to wait for
    assert second.verdict is None
    assert not second.ended.is_set()


def test_a_first_rank_that_is_killed_is_called_so(ranks: list[Watched]) -> None:
    first, second = ranks
    assert first._server is not None
    first._server._members[1].connection.shutdown(socket.SHUT_RDWR)
    assert second.ended.wait(20)
    assert second.verdict is not None
    assert "rank 0 ended without a word" in second.verdict["text"]


def test_a_second_rank_that_is_done_ends_nobody(ranks: list[Watched]) -> None:
    first, second = ranks
    leave(second, None)
    assert second._socket is not None
    second._socket.shutdown(socket.SHUT_RDWR)
    assert first._server is not None
    while 1 in first._server._members:
        time.sleep(0.01)
    assert first._server.verdict is None
