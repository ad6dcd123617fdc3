"""Numbered steps on the console, remembered for the report: how a demo tells what it does."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """Something that was run: what for, its command (or ""), and how long it took."""

    title: str
    command: str
    seconds: float


class StepFailed(Exception):
    """A command of a story ended with a code other than 0."""

    def __init__(self, command: str, code: int) -> None:
        super().__init__(f"`{command}` ended with code {code}; the story stops here")
        self.exit_code = code


class Story:
    """Runs steps in order and keeps them in ``steps``.

    Args:
        total: How many steps there will be.
        write: Takes each line of text.

    Example:
        >>> story = Story(total=1, write=print)
        >>> with story.step("Say hello"):
        ...     story.say("hello")
        <BLANKLINE>
        [1/1] Say hello
          hello
    """

    def __init__(self, total: int, write: Callable[[str], object]) -> None:
        self.total = total
        self.steps: list[Step] = []
        self._write = write
        self._command = ""

    @property
    def seconds(self) -> float:
        """How long all steps took so far."""
        return sum(step.seconds for step in self.steps)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce a step, and remember it when it has ended well."""
        self._write(f"\n[{len(self.steps) + 1}/{self.total}] {title}")
        self._command = ""
        start = time.monotonic()
        yield
        self.steps.append(Step(title, self._command, time.monotonic() - start))

    def say(self, text: str) -> None:
        """A line inside a step."""
        self._write(f"  {text}")

    def run(self, script: str, *arguments: object) -> None:
        """Run a Python script with this interpreter, its command shown as one would type it.

        Raises:
            StepFailed: It ended with a code other than 0.
        """
        words = [script, *map(str, arguments)]
        self._command = shlex.join(["python", *words])
        self._write(f"$ {self._command}")
        sys.stdout.flush()
        code = subprocess.run([sys.executable, *words]).returncode
        if code:
            raise StepFailed(self._command, code)
