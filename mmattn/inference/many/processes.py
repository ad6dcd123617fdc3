"""Several processes of one machine that share the images, each with a model of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from mmattn.errors import MMAttnError, RankError

from .options import ManyOptions
from .progress import ImageCount, Progress
from .run import ShardResult, predict_many
from .shard import Shard
from .sources import ManySources

#: Seconds between two looks at what the processes have told.
_LOOK_EVERY = 0.5


def predict_in_processes(
    load: Callable[[int], tuple[Any, str]],
    sources: Sequence[str | Path],
    out: str | Path,
    options: ManyOptions,
    *,
    processes: int,
    recursive: bool = False,
    shard: Shard | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> ShardResult:
    """Predict the images of a shard by several processes; see ``predict_many``.

    Args:
        load: Function from the number of a process to its predictor and to what identifies the
            model; it is sent to the processes, so it has to be picklable.
        sources: Files, folders and patterns.
        out: Folder of the results.
        options: What is written, and how images are read.
        processes: Number of processes.
        recursive: Take the images in all sub-folders of a folder.
        shard: Share of the images of all of them.
        log: Called with lines about the progress.

    Raises:
        MMAttnError: The error of the first process that ended with one; the others are ended.
        RankError: A process was killed, for example for lack of memory; the others are ended.
    """
    shard = shard or Shard()
    listed = ManySources(sources, recursive=recursive)
    context = multiprocessing.get_context("spawn")
    workers: dict[Connection, Any] = {}
    state: dict[Connection, tuple[int, int, int]] = {}
    results: list[ShardResult] = []
    held: list[Connection] = []  # the ends that tell the processes that this one lives
    try:
        for number, share in enumerate(shard.split(processes)):
            here, there = context.Pipe()
            alive, watched = context.Pipe(duplex=False)[::-1]
            arguments = (there, watched, load, number, list(sources), str(out))
            worker = context.Process(
                target=_work, args=(*arguments, options, recursive, share), daemon=True
            )
            worker.start()
            there.close()
            watched.close()
            held.append(alive)
            workers[here] = worker
        _follow(workers, state, results, ImageCount(listed, shard), log)
    finally:
        for worker in workers.values():
            worker.terminate()
        for worker in workers.values():
            worker.join()
    return ShardResult(
        sum(result.images for result in results),
        sum(result.before for result in results),
        sum(result.broken for result in results),
        next((result.first_broken for result in results if result.broken), ""),
    )


def _follow(
    workers: dict[Connection, Any],
    state: dict[Connection, tuple[int, int, int]],
    results: list[ShardResult],
    count: ImageCount,
    log: Callable[[str], None],
) -> None:
    """Take what the processes tell until all have ended."""
    count.start()
    progress = Progress(log, lambda: count.total)
    left = dict(workers)
    finished = broken = 0
    while left:
        for connection in wait(list(left), _LOOK_EVERY):
            assert isinstance(connection, Connection)
            try:
                kind, value = connection.recv()
            except EOFError:
                worker = left.pop(connection)
                worker.join()
                raise RankError(_ended(worker.exitcode, list(workers).index(connection))) from None
            if kind == "error":
                raise value
            if kind == "done":
                results.append(value)
                left.pop(connection)
            elif kind == "log":
                log(f"process {list(workers).index(connection)}: {value}")
            else:
                if connection not in state:
                    progress.begun = time.monotonic() if not state else progress.begun
                state[connection] = value
        finished, broken = (sum(values[i] for values in state.values()) for i in (0, 1))
        progress.before = sum(values[2] for values in state.values())
        if state:  # before, models are being loaded
            progress.update(finished, broken)
    log(progress.describe(finished, broken))


def _ended(code: int | None, number: int) -> str:
    how = f"exit code {code}"
    if code is not None and code < 0:
        how = signal.Signals(-code).name
        if -code == signal.SIGKILL:
            how += ", as of a machine that is out of memory: fewer --processes need less"
    return (
        f"process {number} ended by {how}. The finished images are kept; the same command goes on"
    )


def _work(
    connection: Connection,
    parent: Connection,
    load: Callable[[int], tuple[Any, str]],
    number: int,
    sources: Sequence[str | Path],
    out: str,
    options: ManyOptions,
    recursive: bool,
    shard: Shard,
) -> None:
    """Predict one shard, in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    told = 0.0

    def tell(finished: int, broken: int, before: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _LOOK_EVERY:
            told = time.monotonic()
            connection.send(("state", (finished, broken, before)))

    try:
        predictor, model = load(number)
        listed = ManySources(sources, recursive=recursive)
        result = predict_many(
            predictor,
            listed,
            out,
            options,
            shard=shard,
            model=model,
            log=lambda text: connection.send(("log", text)),
            tell=tell,
        )
    except MMAttnError as error:
        connection.send(("error", error))
        sys.exit(1)
    connection.send(("state", (result.images, result.broken, result.before)))
    connection.send(("done", result))


def _end_with(parent: Connection) -> None:
    """End this process when the one that started it ends, however it does."""
    try:
        parent.recv()
    except (EOFError, OSError):
        os._exit(1)
