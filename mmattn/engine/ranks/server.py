"""Rank 0's part of the watch: who is there, who failed first, and that all others hear of it.

Messages are lines of JSON. A process says ``hello``, then nothing until it ends (``bye``), fails
(``fail``) or makes no progress (``stuck``); one that never says it is missed. The server answers
``end`` to all when one has failed, and ``left`` when rank 0 has ended as it should, whose
connections close next.
Death is seen by the connection, which the kernel closes, not by missing messages: a process that
holds Python's lock for minutes, to parse a huge file say, is late but not dead.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mmattn.errors import RankError

from .hang import IDLE, hangs

#: Seconds in which all processes must have started.
START = 600
#: Seconds that processes have to say where they are, in a step later than the first.
ANSWER = 5.0
#: Seconds that an error which may be another's consequence waits for that other's.
CONSEQUENCE = 3.0


@dataclass
class Member:
    """A process of the training, at the other end of a connection."""

    connection: socket.socket
    rank: int = -1
    host: str = ""
    pid: int = 0
    done: bool = False
    buffer: bytes = b""


@dataclass
class Question:
    """A question to all processes, what they are doing, because one makes no progress."""

    since: float
    patience: float
    answers: dict[int, dict[str, Any]] = field(default_factory=dict)


class WatchServer(threading.Thread):
    """Listens on a port of its own, in a thread of rank 0.

    Args:
        world_size: How many processes there are.
        token: What a connection must know to be one of them.
        excused: Returns whether a process has come that could not connect; None if none can.

    Attributes:
        port: Where it listens.
        verdict: The first failure; None as long as there is none.
        left: Set when rank 0 has ended, and all others know.
    """

    def __init__(self, world_size: int, token: str, excused: Callable[[], bool] | None = None):
        super().__init__(name="mmattn rank watch server", daemon=True)
        self._excused = excused
        self.world_size, self.token = world_size, token
        self.verdict: dict[str, Any] | None = None
        self.left = threading.Event()
        self._members: dict[int, Member] = {}
        self._seen: set[int] = set()
        self._pending: list[tuple[float, dict[str, Any]]] = []
        self._question: Question | None = None
        self._begun = time.monotonic()
        self._listener = _listen()
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)

    def run(self) -> None:
        """Serve until the process ends."""
        while True:
            for key, _ in self._selector.select(timeout=0.2):
                if key.data is None:
                    self._accept()
                else:
                    self._receive(key.data)
            self._tick()

    def leftovers(self) -> list[Member]:
        """Return the other processes whose connections are still open."""
        return [member for member in list(self._members.values()) if member.rank != 0]

    def wait_for_others(self, seconds: float) -> None:
        """Wait until every other process has come and gone, but no longer than ``seconds``."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if len(self._seen) == self.world_size and not self.leftovers():
                return
            time.sleep(0.1)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            keep_alive(connection)
            member = Member(connection)
            self._selector.register(connection, selectors.EVENT_READ, member)

    def _receive(self, member: Member) -> None:
        try:
            data = member.connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._leave(member)
            return
        *lines, member.buffer = (member.buffer + data).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            if not isinstance(message, dict) or not self._handle(member, message):
                self._leave(member)
                return

    def _handle(self, member: Member, message: dict[str, Any]) -> bool:
        what = message.get("type")
        if member.rank < 0:
            if what != "hello" or message.get("token") != self.token:
                return False  # somebody else's
            member.rank, member.host, member.pid = (message[k] for k in ("rank", "host", "pid"))
            self._members[member.rank] = member
            self._seen.add(member.rank)
            if self.verdict is not None:
                _send(member, self.verdict)
        elif what == "bye":
            member.done = True
            if member.rank == 0:
                self._tell({"type": "left"})
                self.left.set()
        elif what == "fail":
            failure = {**message, "type": "end", "rank": member.rank}
            if failure.pop("consequence", False):
                self._pending.append((time.monotonic(), failure))
            else:
                self._decide(failure)
        elif what == "stuck" and self._question is None and self.verdict is None:
            self._question = Question(time.monotonic(), float(message["patience"]))
            self._tell({"type": "ask"})
        elif what == "answer" and self._question is not None:
            self._question.answers[member.rank] = message
        return True

    def _leave(self, member: Member) -> None:
        self._selector.unregister(member.connection)
        member.connection.close()
        if member.rank >= 0 and self._members.pop(member.rank, None) and not member.done:
            self._decide(gone(member.rank, member.host, member.pid))

    def _tick(self) -> None:
        now = time.monotonic()
        if self._pending and now - self._pending[0][0] > CONSEQUENCE:
            self._decide(self._pending[0][1])
        if now - self._begun > START:
            self._begun = float("inf")  # asked once
            missing = sorted(set(range(self.world_size)) - self._seen)
            if missing and not (self._excused is not None and self._excused()):
                self._decide(not_come(missing[0]))
        question = self._question
        if question is None:
            return
        if len(question.answers) < len(self._members) and now - question.since < question.patience:
            return
        self._question = None
        silent = [m for rank, m in self._members.items() if rank not in question.answers]
        if not silent and not hangs(question.answers):
            self._tell({"type": "wait"})  # for one that has leave to take its time
            return
        self._decide(_hung(question.answers, silent))

    def _decide(self, failure: dict[str, Any]) -> None:
        if self.verdict is None:
            self.verdict = failure
            self._tell(failure)

    def _tell(self, message: dict[str, Any]) -> None:
        for member in self._members.values():
            _send(member, message)


def gone(rank: int, host: str = "", pid: int = 0) -> dict[str, Any]:
    """Return the failure of a process that ended without a word."""
    where = f" (process {pid} on {host})" if pid else ""
    return {
        "type": "end",
        "kind": "gone",
        "rank": rank,
        "code": RankError.exit_code,
        "text": f"RankError: rank {rank}{where} ended without a word. It was killed, by the "
        "system for want of memory perhaps (dmesg tells), or it crashed; its own output may say "
        "more.",
    }


def not_come(rank: int) -> dict[str, Any]:
    """Return the failure of a process that has not joined the others."""
    return {
        "type": "end",
        "kind": "absent",
        "rank": rank,
        "code": RankError.exit_code,
        "text": f"RankError: rank {rank} has not come within {START} s: it was not started, or it "
        "ended before it could say why; its own output may say more.",
    }


def _hung(answers: dict[int, dict[str, Any]], silent: list[Member]) -> dict[str, Any]:
    """Return the failure of a training that makes no progress."""
    said = [f"rank {rank} is in {a['what']}, for {a['seconds']:.0f} s{_idle(a)}, at {a['place']}"
            for rank, a in sorted(answers.items())]  # fmt: skip
    said += [f"rank {m.rank} (process {m.pid} on {m.host}) does not answer" for m in silent]
    return {
        "type": "end",
        "kind": "hung",
        "rank": silent[0].rank if silent else None,
        "code": RankError.exit_code,
        "text": f"RankError: no progress: {'; '.join(said)}. If steps of this training may take so "
        "long, say ranks.heartbeat=SECONDS.",
    }


def _idle(answer: dict[str, Any]) -> str:
    if answer["late"] != IDLE:
        return ""
    return f" ({answer['idle']:.0f} s of them without computing anything)"


def keep_alive(connection: socket.socket) -> None:
    """Let the kernel find out within half a minute that the other machine is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _send(member: Member, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # it is leaving: its end of the connection tells
        member.connection.sendall(json.dumps(message).encode() + b"\n")


def _listen() -> socket.socket:
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", 0))
