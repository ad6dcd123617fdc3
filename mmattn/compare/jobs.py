"""The runs of a comparison as a list of jobs, one after the other or on several devices at once.

A job is what a process of its own needs to know: files and a seed. A run is the same whichever
process does it, because all chance in it comes from its seed. What is done is not done again, so a
comparison that was stopped, or one more device, takes the list up where it is.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmattn.errors import ConfigError, MMAttnError

from .files import read_json, write_json
from .train_variant import CONSOLE, RESULT

Log = Callable[[str], None]
#: File in a run's folder that a worker reads.
JOB = "job.json"
_SHOWN_LINES = 12


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        name: Name of the run, such as ``SE seed 0``.
        config: File of the variant's config.
        seed: Random seed of the run.
        work_dir: Folder of the run.
        initial_weights: File of the weights that it starts from.
    """

    name: str
    config: str
    seed: int
    work_dir: str
    initial_weights: str

    @property
    def result(self) -> dict[str, Any] | None:
        """Content of the run's ``result.json``; None before it is finished."""
        file = Path(self.work_dir) / RESULT
        return read_json(file) if file.is_file() else None


def parse_devices(devices: str | None, jobs: int | None) -> list[str]:
    """Read ``--devices cuda:0,cuda:1`` and ``--jobs 2``.

    Args:
        devices: Devices, separated by commas; None for the one that mmengine chooses.
        jobs: Number of processes at a time; None for one on each device.

    Returns:
        One device for each process at a time; a single empty name for no further process.

    Raises:
        ConfigError: A device is neither ``cpu`` nor ``cuda:N``, or there are no processes.
    """
    names = [name.strip() for name in (devices or "").split(",") if name.strip()]
    for name in names:
        if name != "cpu" and not name.removeprefix("cuda:").isdecimal():
            raise ConfigError(f"--devices {devices}: expected cpu or cuda:N, got {name!r}.")
    if jobs is not None and jobs < 1:
        raise ConfigError(f"--jobs {jobs}: must be at least 1.")
    if not names and jobs in (None, 1):
        return [""]
    names = names or ["cuda:0" if _has_cuda() else "cpu"]
    return [names[number % len(names)] for number in range(jobs or len(names))]


def check_devices(devices: Sequence[str]) -> None:
    """Refuse GPUs that are not there: a process without one would train on the CPU instead.

    Args:
        devices: What ``parse_devices`` returned.

    Raises:
        ConfigError: This process sees fewer GPUs.
    """
    numbers = [int(name.removeprefix("cuda:")) for name in devices if name.startswith("cuda:")]
    if not numbers:
        return
    import torch

    count = torch.cuda.device_count()
    if max(numbers) >= count:
        raise ConfigError(
            f"--devices cuda:{max(numbers)}: this process sees {count} GPUs, which are numbered "
            "from 0. Name others, or cpu."
        )


def train_in_processes(
    jobs: Sequence[Job], devices: Sequence[str], finished: Callable[[Job, float], None]
) -> None:
    """Run jobs in processes of their own, as many at a time as there are devices.

    Args:
        jobs: Jobs that are not finished yet, in their order.
        devices: One device for each process at a time.
        finished: Called with each job that is finished, and its seconds.

    Raises:
        MMAttnError: A run ended with an error; those that had begun were ended.
    """
    free: queue.SimpleQueue[str] = queue.SimpleQueue()
    for device in devices:
        free.put(device)
    processes = _Processes()

    def work(job: Job) -> float:
        device = free.get()
        try:
            begin = time.perf_counter()
            _run_worker(job, device, processes)
            return time.perf_counter() - begin
        finally:
            free.put(device)

    with ThreadPoolExecutor(len(devices)) as pool:
        waiting = {pool.submit(work, job): job for job in jobs}
        try:
            while waiting:
                for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                    finished(waiting.pop(done), done.result())
        except BaseException:
            for future in waiting:
                future.cancel()
            processes.end()
            raise


class _Processes:
    """The processes that are running; once they are ended, no further one begins."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen] = set()
        self._ended = False

    def start(self, command: Sequence[str], **arguments: Any) -> subprocess.Popen | None:
        """Start a process; None if all were ended meanwhile."""
        with self._lock:
            if self._ended:
                return None
            process = subprocess.Popen(command, **arguments)
            self._running.add(process)
            return process

    def wait(self, process: subprocess.Popen) -> int:
        """Wait for a process and return its exit code."""
        code = process.wait()
        with self._lock:
            self._running.discard(process)
        return code

    def end(self) -> None:
        """End all processes that are running."""
        with self._lock:
            self._ended = True
            for process in self._running:
                process.terminate()


def _run_worker(job: Job, device: str, processes: _Processes) -> None:
    """Run one job in a process that ends when this one does."""
    folder = Path(job.work_dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / JOB, asdict(job))
    environment = dict(os.environ)
    environment["CUDA_VISIBLE_DEVICES"] = visible_devices(device)
    with (folder / CONSOLE).open("a", encoding="utf-8") as console:
        process = processes.start(
            [sys.executable, "-m", "mmattn.compare.worker", str(folder / JOB)],
            stdin=subprocess.PIPE,  # closed when this process ends, however it does
            stdout=console,
            stderr=console,
            env=environment,
        )
        if process is None:
            return
        code = processes.wait(process)
        process.stdin.close()
    if code != 0:
        lines = (folder / CONSOLE).read_text("utf-8", errors="replace").splitlines()
        tail = "\n".join(lines[-_SHOWN_LINES:])
        raise MMAttnError(f"{job.name} ended with exit code {code}; {folder / CONSOLE}:\n{tail}")


def visible_devices(device: str) -> str:
    """Return ``CUDA_VISIBLE_DEVICES`` for a process that is to see one device, or none for cpu.

    Devices are numbered as this process sees them, which may be some of the machine's alone.

    Raises:
        ConfigError: This process sees fewer devices.
    """
    if device == "cpu":
        return ""
    number = device.removeprefix("cuda:")
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if seen is None:
        return number
    names = [name.strip() for name in seen.split(",") if name.strip()]
    if int(number) >= len(names):
        raise ConfigError(f"--devices {device}: CUDA_VISIBLE_DEVICES={seen!r} has no such device.")
    return names[int(number)]


def read_job(path: str | Path) -> Job:
    """Read the file that ``train_in_processes`` writes for a worker."""
    return Job(**json.loads(Path(path).read_text(encoding="utf-8")))


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
