"""What a reader needs to repeat a comparison: commit, machine, versions, data."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.config import Config


def commit() -> str:
    """The checkout's commit, with ``-dirty`` if files differ from it; ``unknown`` outside one."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, cwd=Path(__file__).parent, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return found.stdout.strip() or "unknown"


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine() -> dict[str, str]:
    """Machine and versions, for the end of a report."""
    from mmattn.environment import backends, versions
    from mmattn.environment import machine as cores

    backend = backends()
    return {
        "processor": processor(),
        **cores(),
        "device": backend["device"],
        **versions(),
        "mmattn's operators": backend["mmattn's operators"],
    }


def data_facts(cfg: Config, train: Any, val: Any) -> dict[str, Any]:
    """The two datasets, by class, place and length."""
    from mmattn.config.load import innermost_dataset

    leaf = innermost_dataset(cfg.val_dataloader.dataset)
    kind = leaf["type"]
    return {
        "class": kind if isinstance(kind, str) else kind.__name__,
        "root": str(leaf.get("data_root") or ""),
        "train": len(train),
        "val": len(val),
        "classes": len((getattr(val, "metainfo", None) or {}).get("classes") or ()),
    }
