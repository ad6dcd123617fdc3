"""Two processes of one training that no launcher has started, and none watches."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_ranks(repo: Path, *commands: list[str]) -> tuple[list[int], list[str]]:
    """Run ``python -m`` with the words of each command; return exit codes and errors.

    Args:
        repo: Folder of the repository.
        commands: Module and arguments of rank 0, of rank 1, and so on.
    """
    environment = os.environ | {
        "PYTHONPATH": str(repo), "WORLD_SIZE": str(len(commands)), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    environment.pop("TORCHELASTIC_USE_AGENT_STORE", None)
    ranks = [
        subprocess.Popen([sys.executable, "-m", *command], cwd=repo, text=True,
                         env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for rank, command in enumerate(commands)
    ]  # fmt: skip
    try:  # some would never end
        texts = [rank.communicate(timeout=500)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    return [rank.returncode for rank in ranks], texts
