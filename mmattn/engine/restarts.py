"""Go on by itself where torchrun or SLURM has started a training again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.bridge.checkpoints import find_latest_checkpoint
from mmattn.io import atomic_write

if TYPE_CHECKING:
    from mmengine.runner import Runner

#: File in the folder of a run that says which job has begun it, and what lay there before.
LAUNCH_FILE = "launch.json"


@dataclass(frozen=True)
class Launch:
    """A start of a training by something that may start it again.

    Attributes:
        job: Name of the job, the same for all of its starts.
        restart: How often it was started again.
        starter: What did so, for messages.
    """

    job: str
    restart: int
    starter: str


def find_launch(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """Return the launch that the variables of torchrun and SLURM tell of; None without either.

    A job of SLURM, which may be queued again, may run torchrun, which may start its processes
    again: the job is SLURM's, and the restart either's.
    """
    run, job = environment.get("TORCHELASTIC_RUN_ID"), environment.get("SLURM_JOB_ID")
    if run is None and job is None:
        return None
    name = f"torchrun {run}" if job is None else f"SLURM {job}"
    again = int(environment.get("TORCHELASTIC_RESTART_COUNT", "0"))
    requeued = int(environment.get("SLURM_RESTART_COUNT", "0"))
    if again or (run is not None and not requeued):
        return Launch(name, again, "torchrun")
    return Launch(name, requeued, "SLURM")


def resume_after_restart(runner: Runner, launch: Launch | None = None) -> None:
    """Let a training that was started again go on from the newest checkpoint of its job.

    Where the job has saved none, it begins as the command says. Checkpoints that lay in the folder
    before the job began are not the job's. Rank 0 decides for all.

    Args:
        runner: Runner whose training has not begun.
        launch: Launch of this process; by default that of the environment.
    """
    from mmengine.dist import broadcast_object_list

    launch = launch or find_launch()
    if launch is None:
        return
    decided: list[Any] = [None]
    if runner.rank == 0:
        decided = [_saved_by_job(Path(runner.work_dir), launch)]
    if runner.world_size > 1:
        broadcast_object_list(decided)
    if launch.restart == 0:
        return
    said = f"Restart {launch.restart} by {launch.starter}: "
    if decided[0] is None:
        runner.logger.warning(f"{said}the job has saved no checkpoint, so it begins as at first.")
        return
    runner.logger.warning(f"{said}going on from {decided[0]}, as with --resume.")
    runner._resume, runner._load_from = True, None


def _saved_by_job(folder: Path, launch: Launch) -> str | None:
    """Return the newest checkpoint of the job, and note at its first start what lay there before.

    A job that was started again before it had noted anything has saved nothing either.
    """
    newest = find_latest_checkpoint(str(folder), verify=False)  # which the resumption does
    there = None if newest is None else [newest, _time_of(newest)]
    file = folder / LAUNCH_FILE
    noted = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    if launch.restart == 0 or noted.get("job") != launch.job:
        with atomic_write(file, "w") as stream:
            stream.write(json.dumps({"job": launch.job, "newest_before": there}) + "\n")
        return None
    return None if there == noted["newest_before"] else newest


def _time_of(checkpoint: str) -> int:
    """Return when a file was written, in nanoseconds; 0 for one in a remote store."""
    try:
        return Path(checkpoint).stat().st_mtime_ns
    except OSError:
        return 0
