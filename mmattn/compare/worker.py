"""``python -m mmattn.compare.worker JOB.json``: one run of a comparison in a process of its own."""

from __future__ import annotations

import os
import sys
import threading

from mmattn.errors import MMAttnError


def main(path: str) -> int:
    """Train the job of a file; returns the exit code."""
    end_with_parent()
    from pathlib import Path

    from mmengine.config import Config

    from mmattn.config.registry_scope import enter_scope

    from .jobs import read_job
    from .train_variant import run_variant

    job = read_job(path)
    cfg = Config.fromfile(job.config)
    enter_scope(cfg)
    try:
        run_variant(
            cfg,
            job.seed,
            Path(job.work_dir),
            Path(job.initial_weights),
            progress=lambda done, total: None,
        )
    except MMAttnError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return error.exit_code
    return 0


def end_with_parent() -> None:
    """Let this process end when standard input ends: its writer was killed, or has ended.

    Two processes would otherwise train in one folder as soon as the comparison is started again.
    """
    threading.Thread(target=_end_with_input, daemon=True).start()


def _end_with_input() -> None:
    # Not by sys.stdin: a thread that waits inside of its buffer breaks the end of the interpreter.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
