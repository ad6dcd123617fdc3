"""Numbered steps on the console, remembered for the report of tools/demo.py."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mmattn.reports.run import Step

#: Options of a run that only shows whether every step works.
QUICK = (
    "train_cfg.max_iters=4",
    "train_cfg.val_interval=2",
    "train_dataloader.batch_size=4",
    "default_hooks.checkpoint.interval=2",
)
#: Seconds that a script has to end by itself, before it is told to and before it is killed.
PATIENCE = 10


class StepFailed(Exception):
    """Raised when the command of a step ends with a code other than 0."""

    def __init__(self, command: str, code: int) -> None:
        super().__init__(f"`{command}` ended with code {code}; the demo stops here")
        self.exit_code = code


class DemoSteps:
    """Runs steps in order and keeps them in ``steps``.

    Args:
        total: Number of steps there will be.
        log: Function that takes each line of text.

    Example:
        >>> demo = DemoSteps(total=1, log=print)
        >>> with demo.step("Say hello"):
        ...     demo.say("hello")
        <BLANKLINE>
        [1/1] Say hello
          hello
    """

    def __init__(self, total: int, log: Callable[[str], object]) -> None:
        self.total = total
        self.steps: list[Step] = []
        self._log = log
        self._command = ""

    @property
    def seconds(self) -> float:
        """Wall time of all steps so far."""
        return sum(step.seconds or 0.0 for step in self.steps)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce a step, and remember it once it has succeeded."""
        self._log(f"\n[{len(self.steps) + 1}/{self.total}] {title}")
        self._command = ""
        start = time.monotonic()
        yield
        self.steps.append(Step(title, self._command, time.monotonic() - start))

    def say(self, text: str) -> None:
        """Write a line inside a step."""
        self._log(f"  {text}")

    def run(self, script: str, *arguments: object) -> None:
        """Run a Python script with this interpreter, and show its command as one would type it.

        Whatever ends this process, but for SIGKILL, ends the script first.

        Raises:
            StepFailed: It ended with a code other than 0.
        """
        words = [script, *map(str, arguments)]
        self._command = shlex.join(["python", *words])
        self._log(f"$ {self._command}")
        sys.stdout.flush()
        process = subprocess.Popen([sys.executable, *words])
        try:
            code = process.wait()
        except BaseException as error:
            _end(process, gently=isinstance(error, KeyboardInterrupt))
            raise
        if code:
            raise StepFailed(self._command, code)


class Terminated(SystemExit):
    """Raised in place of the death that SIGTERM or SIGHUP would bring."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signal_name = signal.Signals(signum).name


def raise_on_termination() -> None:
    """Let SIGTERM and SIGHUP raise ``Terminated``, so that the script of a step ends too."""

    def handle(signum: int, frame: object) -> None:
        for name in names:  # a second one must not interrupt the cleaning up
            signal.signal(name, signal.SIG_IGN)
        raise Terminated(signum)

    names = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    for name in names:
        signal.signal(name, handle)


def _end(process: subprocess.Popen, *, gently: bool) -> None:
    """End a process; ``gently`` waits first, since Ctrl-C in a terminal has reached it as well."""
    if gently:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=PATIENCE)
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
