"""Signals that ask a training to stop: noted when they come, acted upon between two steps."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from mmattn.data.worker_signals import STOP_SIGNALS

_NAMES = {number: number.name for number in STOP_SIGNALS}


class StoppedBySignal(BaseException):
    """Raised where a signal comes before the first step, when nothing is to be saved.

    No ``Exception``, so that other people's handlers let it pass.
    """


class InterruptedTraining(KeyboardInterrupt):
    """Raised for Ctrl-C after the checkpoint was written; the text says where and how to go on."""


class StopSignals:
    """Context in which SIGTERM, SIGUSR1 and the first SIGINT are noted.

    A second SIGINT raises ``KeyboardInterrupt`` at once. Handlers from before are put back at the
    end. Outside of the main thread, where Python allows no handlers, the context does nothing.

    Attributes:
        received: Number of the signal; 0 for none.
        in_training: Whether steps are taken; before that a signal ends the run at once.
    """

    def __init__(self) -> None:
        self.received = 0
        self.in_training = False
        self._interrupts = 0
        self._process = os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            # None: a handler that was not set from Python, which cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a process that was forked for something else
            self._in_child(number)
            return
        self._interrupts += number == signal.SIGINT
        # After any other signal the first Ctrl-C is the one that stops at once.
        again = number == signal.SIGINT and bool(self.received or self._interrupts > 1)
        self.received = max(self.received, number)
        if number == signal.SIGINT and (again or not self.in_training):
            raise KeyboardInterrupt
        if not self.in_training:
            raise StoppedBySignal
        _say(number)

    def _in_child(self, number: int) -> None:
        """Let SIGTERM end a pool's process, as its owner wants; the training decides on others."""
        if number == signal.SIGTERM:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def name_of(number: int) -> str:
    """Return the name of a signal, for messages."""
    return _NAMES.get(signal.Signals(number), str(number))


def _say(number: int) -> None:
    text = f"\n{name_of(number)}: finishing the step and saving a checkpoint"
    text += "; Ctrl-C once more stops at once.\n" if number == signal.SIGINT else ".\n"
    os.write(2, text.encode())  # print is not allowed in a handler
