"""``python -m mmattn.compare.worker JOB.json``: one run of a comparison in a process of its own."""

from __future__ import annotations

import os
import sys
import threading

from mmattn.errors import MMAttnError


def main(path: str) -> int:
    """Train the job of a file; returns the exit code."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
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


def _end_with_parent() -> None:
    """End this process when standard input ends: its writer was killed, or has ended.

    Two processes would otherwise train in one folder as soon as the comparison is started again.
    """
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
