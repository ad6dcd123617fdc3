"""Several processes of one group over gloo, forked: they import nothing again."""

from __future__ import annotations

import faulthandler
import os
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

#: Seconds after which a group hangs, whatever the load of the machine.
HANGS = 120


def run_group(function: Callable[[], Any], folder: Path, size: int = 2) -> list[Any]:
    """Call ``function`` in ``size`` processes of a group; return what each of them has returned.

    Args:
        function: Returns plain data and tensors.
        folder: Folder for the results and the meeting of the group.
        size: Number of processes.

    Raises:
        AssertionError: A process raised, or hangs; the message has where.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    children = []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            try:
                _work(function, folder, rank, size)
            finally:
                os._exit(0)  # no exit handlers, which are the parent's
        children.append(child)
    failed = _wait(children, folder)
    for child in children:
        if child in failed:
            os.kill(child, 9)
            os.waitpid(child, 0)
    results = [folder / f"rank{rank}.pth" for rank in range(size)]
    said = [file.read_text() for file in sorted(folder.glob("rank*.txt"))]
    assert not failed and all(file.exists() for file in results), "\n\n".join(said)
    return [torch.load(file, weights_only=True) for file in results]


def _wait(children: list[int], folder: Path) -> set[int]:
    """Wait for all; return those that still run when another has failed or time is over."""
    left, end = set(children), time.monotonic() + HANGS
    while left and time.monotonic() < end:
        done = {child for child in left if os.waitpid(child, os.WNOHANG)[0]}
        left -= done
        if any((folder / f"failed{rank}").exists() for rank in range(len(children))):
            time.sleep(2)  # the others may have more to say
            return {child for child in left if not os.waitpid(child, os.WNOHANG)[0]}
        time.sleep(0.02)
    return left


def _work(function: Callable[[], Any], folder: Path, rank: int, size: int) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    with (folder / f"rank{rank}.txt").open("w") as log:
        faulthandler.dump_traceback_later(HANGS - 5, file=log)
        try:
            dist.init_process_group(
                "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=size,
                timeout=timedelta(seconds=HANGS),
            )  # fmt: skip
            result = function()
            dist.barrier()
            torch.save(result, folder / f"rank{rank}.pth")
        except BaseException:
            traceback.print_exc(file=log)
            (folder / f"failed{rank}").touch()
        finally:
            faulthandler.cancel_dump_traceback_later()
