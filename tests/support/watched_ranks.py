"""Two processes that add up numbers over gloo, of which one fails in a way that is asked for.

``RANK=0 WORLD_SIZE=2 MASTER_ADDR=… MASTER_PORT=… python -m tests.support.watched_ranks FAULT``
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from datetime import timedelta

FAULTS = (
    "refused-0", "refused-1", "raises-0", "raises-1", "killed-0", "killed-1", "hangs-0", "hangs-1",
    "stopped-0", "stopped-1", "exits-1", "ends-early-1", "locks-1",
    "hangs-first-0", "hangs-first-1", "hangs-spun-1", "locks-first-1",
    "hangs-batch-1", "hangs-epoch-1",
)  # fmt: skip
HARMLESS = (
    "none", "slow-scan-0", "slow-evaluation-0", "locked-scan-0",
    "computes-first-0", "compiles-first-1", "computes-batch-1", "computes-epoch-1",
)  # fmt: skip
HEARTBEAT = 2.0


def main() -> int:
    """Take part; returns the exit code."""
    from mmattn.cli._run import run

    return run(_work)


def _work() -> None:
    from mmattn.engine.ranks.watch import RankWatch
    from mmattn.errors import ConfigError

    fault, rank = sys.argv[1], int(os.environ["RANK"])
    kind, _, who = fault.rpartition("-")
    mine = who == str(rank)
    with RankWatch(rank, 2, HEARTBEAT) as watch:
        if mine and kind == "slow-scan":
            time.sleep(4 * HEARTBEAT)
        if mine and kind == "locked-scan":
            _hold_the_lock(4 * HEARTBEAT)
        if mine and kind == "refused":
            raise ConfigError("model.decode_haed: there is no such key")
        import torch
        import torch.distributed as dist

        dist.init_process_group("gloo", timeout=timedelta(days=1))
        numbers = torch.ones(1000)
        for step in range(6):
            if step in (0, 3):  # an epoch begins
                watch.progress("loading the first batch", limited=True, timed=False)
                if mine and kind.endswith("-epoch" if step else "-batch"):
                    _fail(kind.removesuffix("-epoch").removesuffix("-batch"))
            watch.progress(f"training step {step + 1}", limited=True)
            first = kind.endswith(("-first", "-spun"))
            if mine and step == (0 if first else 3):
                _fail(kind.removesuffix("-first").removesuffix("-spun"))
            _add_up(numbers, spinning=kind.endswith("-spun"))
        watch.progress("the evaluation", limited=False)
        if mine and kind == "slow-evaluation":
            time.sleep(4 * HEARTBEAT)
        dist.all_reduce(numbers)
    print("done", flush=True)
    dist.destroy_process_group()


def _add_up(numbers, *, spinning: bool) -> None:
    """Wait for the other process, in a loop that computes where ``spinning``, as for a GPU."""
    import torch.distributed as dist

    work = dist.all_reduce(numbers, async_op=True)
    assert work is not None
    while spinning and not work.is_completed():
        pass
    work.wait()


def _fail(kind: str) -> None:
    if kind == "raises":
        raise ValueError("the first error")
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    if kind == "hangs":
        threading.Event().wait()
    if kind == "exits":
        os._exit(3)
    if kind == "ends-early":
        sys.exit(0)
    if kind == "locks":
        _hold_the_lock(1000)
    if kind == "computes":
        _compute(4 * HEARTBEAT)
    if kind == "compiles":  # as in a process of a compiler's own
        import subprocess

        code = f"from tests.support import watched_ranks as w; w._compute({4 * HEARTBEAT})"
        subprocess.run([sys.executable, "-c", code], check=True)


def _compute(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def _hold_the_lock(seconds: float) -> None:
    """Keep Python's lock, as a parser written in C does."""
    import ctypes

    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


if __name__ == "__main__":
    sys.exit(main())
