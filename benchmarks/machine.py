"""The machine, versions and command behind the figures of a benchmark."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

from mmattn.environment import commit, processor


def machine(device: str) -> dict[str, str]:
    """Return what the figures depend on.

    Args:
        device: ``cpu`` or ``cuda``; with the latter, the GPU is named too.
    """
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    facts = {
        "cpu": f"{processor()}, {os.cpu_count()} CPUs, {capability}",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
    }
    if device == "cuda":
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def as_line(facts: dict[str, str]) -> str:
    """Put names and values into one line."""
    return "; ".join(f"{name} {value}" for name, value in facts.items())
