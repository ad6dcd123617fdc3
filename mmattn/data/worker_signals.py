"""Worker processes that outlive the signals by which a training is stopped.

A scheduler sends its signal to every process of a job, and Ctrl-C goes to all of the terminal's. A
worker that dies of it takes the training along, before it has saved anything.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

#: Signals that ask a training to stop.
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)
)


def spare_workers(loader: Any) -> None:
    """Let the workers of a loader, which has not started any, ignore what stops a training."""
    if getattr(loader, "num_workers", 0):
        loader.worker_init_fn = SparedWorker(loader.worker_init_fn)


class SparedWorker:
    """Function that a worker calls first: it ignores the signals, then calls ``then``.

    Args:
        then: Function of the worker's number, or None.
    """

    def __init__(self, then: Callable[[int], Any] | None) -> None:
        self.then = then

    def __call__(self, worker: int) -> None:
        """Prepare the worker of this number."""
        ignore_stop_signals()
        if self.then is not None:
            self.then(worker)


def ignore_stop_signals() -> None:
    """Ignore the signals that stop a training, but SIGTERM of the process that started this one.

    That is how the loader ends workers that do not answer.
    """
    for number in STOP_SIGNALS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS and Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey_parent, daemon=True).start()


def _obey_parent() -> None:
    parent = multiprocessing.parent_process()
    starters = {os.getppid(), parent.pid if parent is not None else os.getppid()}
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid not in starters:
        pass
    os._exit(0)
