"""Calls in a forked process: a crash or a hang of a library fails a test and ends nothing else."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

#: Seconds of the clock after which one call hangs, whatever the load of the machine.
HANGS = 120
#: Seconds of the processor that no call may take.
SLOW = 5.0


def call_each(
    function: Callable[[Any], str | None], inputs: Iterable[Any], folder: Path
) -> dict[str, Any]:
    """Call ``function`` with each input in a process of its own and sum up what it says.

    Args:
        function: Returns a word for the outcome; None is "right".
        inputs: Small values that say what the input is, for messages: seeds, names.
        folder: An empty folder, for the report.

    Returns:
        ``calls``, ``outcomes`` (word -> number) and ``slowest`` (seconds of the processor, input).

    Raises:
        AssertionError: A call raised, crashed, hung or took more than ``SLOW`` seconds of the
            processor; the message has the input.
    """
    report, current = folder / "report.json", folder / "current"
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _work(function, inputs, report, current)
            status = 0
        finally:
            # Neither pytest's nor anybody's exit handlers: they are the parent's.
            os._exit(status)
    _, wait_status = os.waitpid(child, 0)
    last = current.read_text().strip() if current.exists() else "the first"
    if os.WIFSIGNALED(wait_status):
        name = signal.Signals(os.WTERMSIG(wait_status)).name
        raise AssertionError(f"the process died of {name} at input {last}")
    found = json.loads(report.read_text()) if report.exists() else None
    assert found is not None, f"input {last} hung, or ended the process"
    assert not found.get("error"), f"input {last}: {found['error']}"
    seconds, where = found["slowest"]
    assert seconds <= SLOW, f"input {where} took {seconds:.1f} s of the processor"
    return found


def _work(
    function: Callable[[Any], str | None], inputs: Iterable[Any], report: Path, current: Path
) -> None:
    import traceback

    outcomes: dict[str, int] = {}
    slowest: tuple[float, str] = (0.0, "")
    calls, error = 0, ""
    descriptor = os.open(current, os.O_CREAT | os.O_WRONLY)
    try:
        for one in inputs:
            text = repr(one).encode()[:200]
            os.pwrite(descriptor, text.ljust(200), 0)  # read only after a crash
            faulthandler.dump_traceback_later(HANGS, exit=True)
            start = time.process_time()
            word = function(one) or "right"
            seconds = time.process_time() - start
            slowest = max(slowest, (seconds, repr(one)[:200]))
            outcomes[word] = outcomes.get(word, 0) + 1
            calls += 1
    except BaseException:
        error = traceback.format_exc()[-4000:]
    faulthandler.cancel_dump_traceback_later()
    report.write_text(
        json.dumps({"calls": calls, "outcomes": outcomes, "slowest": slowest, "error": error})
    )
