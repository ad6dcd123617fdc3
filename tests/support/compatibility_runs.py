"""Run configs one by one in processes of their own, and keep what each of them measured.

A config that crashes, hangs or takes all memory costs its own row only. Every outcome is appended
to a file of JSON lines at once, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from .compatibility import Outcome, run_case
from .no_network import refusing
from .upstream_configs import ALL_CASES, Case

REPO = Path(__file__).resolve().parents[2]
_POLL_SECONDS = 0.5
# Linux counts kilobytes, macOS bytes.
_MAXRSS_PER_GIGABYTE = 2**30 if sys.platform == "darwin" else 2**20
_GRACE_SECONDS = 5.0  # for a child that has sent its outcome


@dataclass(frozen=True)
class Limits:
    """What one config may take.

    Attributes:
        seconds: Wall-clock time.
        gigabytes: Resident memory of its process.
        threads: Threads of torch; 0 leaves the number to torch. The first call decides.
    """

    seconds: float = 900.0
    gigabytes: float = 12.0
    threads: int = 0


def run_cases(
    cases: Sequence[Case],
    results: Path,
    limits: Limits = Limits(),
    jobs: int = 1,
    log: Callable[[str], None] = print,
) -> list[Outcome]:
    """Run those of ``cases`` that ``results`` does not have yet, and return the outcomes of all.

    Args:
        cases: Configs in the order of the result.
        results: File of JSON lines, one per finished config; it is made where there is none.
        limits: What each config may take.
        jobs: Number of configs that run at the same time.
        log: Function that is called with a line for each config that is finished.
    """
    done = read_outcomes(results)
    waiting = [case for case in cases if case.config not in done]
    results.parent.mkdir(parents=True, exist_ok=True)
    _write(results, done.values())  # without a line that was cut off
    _prepare_server(limits)
    with ThreadPoolExecutor(jobs) as pool:
        runs = [pool.submit(run_in_process, case, limits) for case in waiting]
        for run in as_completed(runs):
            outcome = run.result()
            done[outcome.case.config] = outcome
            with results.open("a") as file:
                file.write(dump(outcome) + "\n")
            log(f"{outcome.case.config}: {verdict(outcome)}")
    return [done[case.config] for case in cases]


def _prepare_server(limits: Limits) -> None:
    """Set what the server that processes are forked from imports and inherits, once it starts."""
    if limits.threads:
        os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(limits.threads))
    paths = [str(REPO), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.compatibility_preload"])


def verdict(outcome: Outcome) -> str:
    """``ok``, or what failed."""
    if outcome.works:
        return "ok"
    return f"FAILED {outcome.error or 'gradients are missing'}"


def run_in_process(
    case: Case, limits: Limits, runner: Callable[[Case], Outcome] = run_case
) -> Outcome:
    """Run ``case`` in a process of its own, which is ended when it goes beyond ``limits``.

    Args:
        case: The config.
        limits: What it may take.
        runner: Function of a module that the process calls.
    """
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.NamedTemporaryFile("r", errors="replace") as output:
        child = context.Process(target=_child, args=(case.config, sender, output.name, runner))
        child.start()
        sender.close()
        reason = _watch(child, receiver, limits)
        # A dump is small, so that the child never waits for us to read it.
        with contextlib.suppress(EOFError):
            if not reason:
                return load(receiver.recv())
        text = output.read()
    last = text.strip().splitlines()[-1:] or [""]
    reason = reason or f"its process ended with exit code {child.exitcode}: {last[0][:200]}"
    return Outcome(case, error=reason, traceback=text[-4000:])


def _child(config: str, sender: Connection, output: str, runner: Callable[[Case], Outcome]) -> None:
    """Run one config, without a network, and send its outcome; what is printed goes to a file."""
    with open(output, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    (case,) = (case for case in ALL_CASES if case.config == config)
    socket.socket.connect = refusing(socket.socket.connect)
    outcome = runner(case)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    outcome.cpu_seconds = round(usage.ru_utime + usage.ru_stime, 1)
    outcome.gigabytes = round(usage.ru_maxrss / _MAXRSS_PER_GIGABYTE, 2)
    sender.send(dump(outcome))


def _watch(child: BaseProcess, receiver: Connection, limits: Limits) -> str:
    """Wait for ``child`` or its outcome; return why it was ended, ``""`` if it was not."""
    start = time.monotonic()
    try:
        while not receiver.poll(_POLL_SECONDS):  # also true when the child is gone
            if time.monotonic() - start > limits.seconds:
                return f"not finished within {limits.seconds:.0f} s"
            if _resident_gigabytes(child.pid or 0) > limits.gigabytes:
                return f"more than {limits.gigabytes:g} GB of memory"
        child.join(_GRACE_SECONDS)
        return ""
    finally:
        child.kill()
        child.join()


def _resident_gigabytes(pid: int) -> float:
    """The resident memory of a process, 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    sizes = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(sizes[0]) / 2**20 if sizes else 0.0


def read_outcomes(results: Path) -> dict[str, Outcome]:
    """The outcomes in a file of JSON lines, by config; the last line of a config counts.

    The last line of a file may be cut off, as by a run that was killed while writing it: that
    config runs again. Configs that left the table are passed over.
    """
    outcomes = {}
    for line in results.read_text().splitlines() if results.exists() else ():
        try:
            outcome = load(line)
        except (json.JSONDecodeError, StopIteration):
            continue
        outcomes[outcome.case.config] = outcome
    return outcomes


def forget(results: Path, cases: Sequence[Case], which: str) -> None:
    """Take outcomes out of ``results``, so that they are measured again.

    Args:
        results: File of JSON lines.
        cases: Configs that may be forgotten.
        which: ``failed`` (and no package is to blame), or ``needs`` an optional package.
    """
    configs = {case.config for case in cases}

    def stays(outcome: Outcome) -> bool:
        if outcome.case.config not in configs:
            return True
        if which == "needs":
            return not outcome.needs
        return outcome.works or "MissingPackageError" in outcome.error

    _write(results, filter(stays, read_outcomes(results).values()))


def _write(results: Path, outcomes: Iterable[Outcome]) -> None:
    results.write_text("".join(f"{dump(outcome)}\n" for outcome in outcomes))


def dump(outcome: Outcome) -> str:
    """One line of JSON."""
    facts = asdict(outcome) | {"case": outcome.case.config, "ops": sorted(outcome.ops)}
    return json.dumps(facts)


def load(line: str) -> Outcome:
    """The outcome in a line of ``dump``; the case is the table's present one."""
    facts = json.loads(line)
    case = next(case for case in ALL_CASES if case.config == facts["case"])
    idle = {name: case.why_idle(name) for name in facts["without_gradient"]}
    return Outcome(**facts | {"case": case, "ops": set(facts["ops"]), "without_gradient": idle})
