"""Every process's part of the watch: say what fails here, and end when another one has failed."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
import traceback
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.engine.distributed import launched_rank, set_standard_variables, world_size
from mmattn.engine.stop_signals import InterruptedTraining, StoppedBySignal, StopSignals, name_of
from mmattn.errors import MMAttnError, Preempted, RankError, is_interrupt, one_line

from .hang import SLOWER, collectives_begun, lateness
from .idle_time import IdleTime
from .server import ANSWER, START, WatchServer, gone, keep_alive

if TYPE_CHECKING:
    from mmengine.runner import Runner

#: Seconds that rank 0 waits, when it fails, for others that have not started yet.
_LATEST = 40
#: The same when it was stopped by a signal: schedulers kill what does not end within half a minute.
_LATEST_STOP = 10
#: Exit code after SIGINT, as shells have it.
_INTERRUPTED = 128 + signal.SIGINT
#: Seconds that a process which has failed takes at most to end.
_LAST = 15
# What torch says, in one process, of the end of another.
_CONSEQUENCES = (
    "closed by peer", "reset by peer", "Broken pipe", "Connection refused", "Socket Timeout",
    "Timed out waiting", "timed out", "communicator was aborted", "remote process exited",
    "Socket closed", "recvValue failed", "sendBytes failed", "Failed to recv",
)  # fmt: skip


def watch_ranks(launcher: str, signals: StopSignals | None = None) -> RankWatch:
    """Return the watch over the processes that ``launcher`` has started.

    It needs no config: a process may be refused or stopped before it has read one. The limit that
    the config sets is given to the watch later (``RankWatch.heartbeat``).

    Args:
        launcher: Launcher of the processes: none, pytorch, slurm or mpi.
        signals: Notes the signals by which this process may be stopped.

    Raises:
        ConfigError: The launcher did not start this process.
    """
    rank, count = launched_rank(launcher), world_size(launcher)
    if count > 1:
        set_standard_variables(launcher)
    return RankWatch(rank, count, None, signals)


class RankWatch:
    """Joins this process to the others of its training; a context.

    When the block raises, all other processes end with the exit code of the first error, whose
    text is the last that rank 0 prints. One that is killed, or makes no progress, ends all others.

    Args:
        rank: Of this process.
        world_size: How many there are; nothing is watched where there is one.
        heartbeat: Seconds without progress in a step after which a process counts as hung; None
            for no limit.
        signals: Notes the signals by which this process may be stopped.
    """

    def __init__(
        self,
        rank: int,
        world_size: int,
        heartbeat: float | None,
        signals: StopSignals | None = None,
    ):
        self.signals = signals
        self.rank, self.world_size, self.heartbeat = rank, world_size, heartbeat
        self.verdict: dict[str, Any] | None = None
        self._server: WatchServer | None = None
        self._socket: socket.socket | None = None
        self._store: Any = None
        self._decided = threading.Event()
        self._ends = threading.Lock()
        self._failing = False
        self._leaving = False
        self._first_left = False
        self._main = threading.get_ident()
        # What the main thread does, since when, whether there is a limit to it, and whether to its
        # time as well.
        self._now: tuple[str, float, bool, bool] = ("its start", time.monotonic(), False, False)
        self._slowest = 0.0
        self._waits_until = 0.0
        self._asked_at: float | None = None
        self._idle: IdleTime | None = None
        self._idle_seconds, self._next_look = 0.0, 0.0
        # Of rank 0.
        self._first_pid, self._first_host = 0, ""

    def __enter__(self) -> RankWatch:
        if self.world_size > 1:
            try:
                self._join()
            except MMAttnError:
                raise
            except (OSError, RuntimeError, ValueError) as error:
                sys.stderr.write(f"warning: rank {self.rank} is not watched, so it may wait for "
                                 f"another one that has ended: {one_line(error)}\n")  # fmt: skip
            except BaseException as error:  # a signal
                self.__exit__(type(error), error, error.__traceback__)
                raise
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self._socket is None:
            return
        if error is None or isinstance(error, (Preempted, InterruptedTraining)):
            self._leave()  # as all processes do, at the same step
            return
        text, code = self._told(error)
        verdict = self._fail(text, code, consequence=_is_consequence(error))
        alone = not isinstance(error, Exception)  # a signal's, perhaps to all: each says its own
        if alone or verdict is None or verdict["rank"] == self.rank:
            if not alone:
                _write_error_file(error)
            if self._server is not None:  # those that start late have to hear of it, too
                self._server.wait_for_others(_LATEST_STOP if alone else _LATEST)
            _exit_soon(code)
            return
        self._end(verdict)

    def attach(self, runner: Runner) -> None:
        """Let ``runner`` tell how far it has come."""
        if self._socket is not None:
            from .progress import AfterHooks, BeforeHooks

            runner.register_hook(BeforeHooks(self))
            runner.register_hook(AfterHooks(self))

    def progress(self, what: str, *, limited: bool, timed: bool = True) -> None:
        """Note what the main thread begins.

        Args:
            what: What it is, for messages.
            limited: Whether a process may hang there: it must compute, or be done in time.
            timed: Whether its time is limited too, and says how long others may take.
        """
        _, since, _, was_timed = self._now
        now = time.monotonic()
        if was_timed:
            self._slowest = max(self._slowest, now - since)
        self._now = (what, now, limited, limited and timed)

    # --- joining -----------------------------------------------------------------------------

    def _join(self) -> None:
        """Find rank 0's server by the store that the process group will use, and connect."""
        from torch.distributed import TCPStore

        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        key = f"mmattn/watch/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
        try:
            self._store = TCPStore(
                host, port, None, self.rank == 0 and not agent, timedelta(seconds=START),
                wait_for_workers=False, multi_tenant=True,
            )  # fmt: skip
            if self.rank == 0:
                self._store.set(key, self._serve(key))
            place = self._store.get(key).decode()
        except (RuntimeError, ValueError) as error:  # torch's, of a store that nobody opens
            if self.rank == 0:
                raise
            # Nor could the process group be joined, which would wait for a day.
            raise RankError(
                f"rank 0 cannot be reached at {host}:{port} ({one_line(error)}). It was not "
                "started, or ended early; its own output may say more."
            ) from error
        if not place:
            raise OSError("rank 0 does not listen")
        number, token, pid, self._first_host = place.split()
        self._first_pid = int(pid)
        try:
            self._socket = socket.create_connection((host, int(number)), timeout=60)
        except OSError:
            self._store.set(f"{key}/unwatched", "1")  # it has come all the same
            raise
        keep_alive(self._socket)
        self._socket.settimeout(0.5)
        self._send({"type": "hello", "token": token, "rank": self.rank, "pid": os.getpid(),
                    "host": socket.gethostname()})  # fmt: skip
        threading.Thread(target=self._listen, name="mmattn rank watch", daemon=True).start()

    def _serve(self, key: str) -> str:
        """Start rank 0's server; returns where it is, and what a process must know to join."""
        token, unwatched = secrets.token_hex(16), f"{key}/unwatched"
        try:
            self._server = WatchServer(
                self.world_size, token, excused=lambda: self._store.check([unwatched])
            )
        except OSError:
            self._store.set(key, "")  # nobody is to wait for it
            raise
        self._server.start()
        return f"{self._server.port} {token} {os.getpid()} {socket.gethostname()}"

    def _send(self, message: dict[str, Any]) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendall(json.dumps(message).encode() + b"\n")

    # --- the thread --------------------------------------------------------------------------

    def _listen(self) -> None:
        assert self._socket is not None
        buffer = b""
        while True:
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                self._check_progress()
                continue
            except OSError:
                data = b""
            if not data:
                if self._first_left:
                    self._decided.set()  # nobody is there to tell of another error
                elif not self._leaving:
                    self._decide(gone(0))
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                self._handle(json.loads(line))

    def _handle(self, message: dict[str, Any]) -> None:
        if message["type"] == "end":
            self._decide(message)
        elif message["type"] == "left":
            self._first_left = True
        elif message["type"] == "ask":
            what, since, limited, timed = self._now
            seconds = time.monotonic() - since
            late = self._lateness() if limited else ""
            # What has no limit of time may go on as long as something is computed.
            self._send({"type": "answer", "what": what, "seconds": seconds,
                        "limited": timed or bool(late), "late": late, "idle": self._idle_seconds,
                        "begun": collectives_begun(), "place": self._place()})  # fmt: skip
        elif message["type"] == "wait":
            self._asked_at = None
            again = max(self.heartbeat or float("inf"), SLOWER * self._slowest)
            self._waits_until = time.monotonic() + again

    def _lateness(self) -> str:
        """Return why the step that the main thread is in is late, or "" where it is not."""
        _, since, _, timed = self._now
        slowest = self._slowest if timed else 0.0  # a first batch is judged as a first step is
        now, looks = time.monotonic(), not slowest
        if self.heartbeat is not None and looks and now >= self._next_look:
            every = self.heartbeat / 20
            if self._idle is None:
                self._idle = IdleTime(longest_gap=5 * every + ANSWER)
            self._idle_seconds, self._next_look = self._idle.seconds(since), now + every
        idle = min(self._idle_seconds, now - since) if looks else 0.0
        return lateness(now - since if timed else 0.0, idle, self.heartbeat, slowest)

    def _check_progress(self) -> None:
        _, since, limited, timed = self._now
        now = time.monotonic()
        if not limited or not self._lateness():
            self._asked_at = None
            return
        if now < self._waits_until:
            return
        # A compiler may hold Python's lock for longer than a step later on ever does.
        patience = ANSWER if timed and self._slowest else max(ANSWER, self.heartbeat or 0.0)
        if self._asked_at is None:
            self._asked_at = now
            self._send({"type": "stuck", "patience": patience})
        elif now - self._asked_at > patience + ANSWER:  # rank 0 itself does not move
            self._decide({
                "type": "end", "kind": "hung", "rank": 0, "silent": 0,
                "code": RankError.exit_code,
                "text": f"RankError: rank {self.rank} has made no progress for {now - since:.0f} s "
                f"in {self._now[0]} (at {self._place()}), and rank 0 does not answer.",
            })  # fmt: skip

    def _place(self) -> str:
        """Return where the main thread is: the innermost lines of its stack."""
        frame = sys._current_frames().get(self._main)
        stack = traceback.extract_stack(frame)[-3:] if frame is not None else []
        return " < ".join(f"{Path(s.filename).name}:{s.lineno} {s.name}" for s in reversed(stack))

    def _decide(self, verdict: dict[str, Any]) -> None:
        if self.verdict is None:
            self.verdict = verdict
            self._decided.set()
            if not self._failing and not self._leaving:
                self._end(verdict)

    # --- the end -----------------------------------------------------------------------------

    def _leave(self) -> None:
        self._leaving = True
        self._send({"type": "bye"})
        if self._server is not None:  # that a connection closes must surprise nobody
            self._server.left.wait(5)

    def _told(self, error: BaseException) -> tuple[str, int]:
        """Return what the others are told of an error, and the exit code of all."""
        received, early = 0, False
        if self.signals is not None:
            received, early = self.signals.received, not self.signals.in_training
        # mmengine makes a SyntaxError of whatever comes while it formats a config.
        formats = isinstance(error, SyntaxError)
        if isinstance(error, StoppedBySignal) or (
            formats and early and received not in (0, signal.SIGINT)
        ):
            name = name_of(received) if received else "a signal"
            return f"{name}: stopped before the first step", Preempted.exit_code
        if (formats or isinstance(error, KeyboardInterrupt)) and is_interrupt(error):
            return "SIGINT: interrupted, without a checkpoint", _INTERRUPTED
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else 0
            return "SystemExit: ended before the others", code or RankError.exit_code
        return one_line(error), _code(error)

    def _fail(self, text: str, code: int, *, consequence: bool) -> dict[str, Any] | None:
        """Tell the others of an error, and return the first one of all."""
        self._failing = True
        self._send({"type": "fail", "kind": "raised", "text": text, "code": code,
                    "consequence": consequence})  # fmt: skip
        self._decided.wait(10)
        return self.verdict

    def _end(self, verdict: dict[str, Any]) -> None:
        """End this process, because another one has failed."""
        if not self._ends.acquire(blocking=False):
            threading.Event().wait()  # the other thread does it
        rank, raised = verdict["rank"], verdict["kind"] == "raised"
        if raised:
            time.sleep(1.5)  # it writes its error first, and a launcher may end all others then
        # In every log of its own there is one process that says why.
        if self.rank == 0 or rank == 0:
            sys.stdout.flush()
            sys.stderr.write(f"{f'rank {rank}: ' if raised else ''}{verdict['text']}\n")
            sys.stderr.flush()
        # One that has raised an error ends by itself, and may wait for this one before.
        self._end_the_stopped(spared=rank if raised else None)
        os._exit(verdict["code"])

    def _end_the_stopped(self, spared: int | None) -> None:
        """Kill processes of this training, on this machine, that do not end by themselves."""
        if self._server is None:
            stopped = self.verdict is not None and self.verdict.get("silent") == 0
            if stopped and self._first_host == socket.gethostname():
                with contextlib.suppress(OSError):
                    os.kill(self._first_pid, signal.SIGKILL)
            return

        def left() -> list[Any]:
            return [m for m in self._server.leftovers() if m.rank != spared]  # type: ignore

        deadline = time.monotonic() + 5
        while left() and time.monotonic() < deadline:
            time.sleep(0.1)
        for member in left():
            if member.host == socket.gethostname():
                with contextlib.suppress(OSError):
                    os.kill(member.pid, signal.SIGKILL)


def _code(error: BaseException) -> int:
    return error.exit_code if isinstance(error, MMAttnError) else 1


def _is_consequence(error: BaseException) -> bool:
    """Return whether an error may be about another process, which has ended."""
    text = str(error)
    return not isinstance(error, MMAttnError) and (
        type(error).__name__.startswith("Dist") or any(part in text for part in _CONSEQUENCES)
    )


def _write_error_file(error: BaseException) -> None:
    """Leave the error where torchrun looks for it, whose report is the last that is printed."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not file:
        return
    known = isinstance(error, MMAttnError)
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    told = one_line(error) if known else "".join(lines)
    extra = {"py_callstack": told, "timestamp": str(int(time.time()))}
    with contextlib.suppress(OSError):
        Path(file).write_text(
            json.dumps({"message": {"message": one_line(error), "extraInfo": extra}}),
            encoding="utf-8",
        )


def _exit_soon(code: int) -> None:
    """See that this process ends although another one, which it may wait for, has not."""

    def exit_now() -> None:
        time.sleep(_LAST)
        os._exit(code)

    threading.Thread(target=exit_now, daemon=True).start()
