"""Versions, backends, machine and commit behind a result."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Distribution names; a fork and its original share an import name, so both are asked for.
PACKAGES = (
    "torch",
    "torchvision",
    "onedl-mmengine",
    "onedl-mmcv",
    "onedl-mmdetection",
    "onedl-mmsegmentation",
    "mmengine",
    "mmcv",
    "mmdet",
    "mmsegmentation",
    "timm",
    "numpy",
    "onnx",
    "onnxscript",
    "onnxslim",
    "onnxruntime",
)


def collect_env() -> dict[str, dict[str, str]]:
    """Collect all that a result depends on beside its config and data.

    Returns:
        Tables of names and values: ``versions`` (with the commit), ``backends`` and ``machine``.
    """
    return {
        "versions": {"commit": commit(), **versions()},
        "backends": backends(),
        "machine": machine(),
    }


def versions() -> dict[str, str]:
    """Return the versions of mmattn, Python and those of ``PACKAGES`` that are installed."""
    import mmattn

    result = {"mmattn": mmattn.__version__, "Python": platform.python_version()}
    for package in PACKAGES:
        try:
            result[package] = version(package)
        except PackageNotFoundError:
            continue
    return result


def backends() -> dict[str, str]:
    """Return which implementation each interchangeable part uses in this process."""
    return {
        "mmcv's operators": _mmcv_operators(),
        "mmattn's operators": _own_operators(),
        "C++ compiler": _compiler(),
        "device": _device(),
        "onnxruntime providers": _onnxruntime_providers(),
    }


def machine() -> dict[str, str]:
    """Describe this machine: processor, system, cores this process may use, torch's threads."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "CPU cores": str(cores),
        "torch threads": str(torch.get_num_threads()),
    }


def processor() -> str:
    """Return the processor's name, or its architecture where the system does not tell the name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def commit() -> str:
    """Return the commit of mmattn's checkout, or ``unknown`` outside of one.

    ``-dirty`` is appended if files differ from the commit.
    """
    command = ["git", "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, cwd=Path(__file__).parent, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return result.stdout.strip() or "unknown"


def _mmcv_operators() -> str:
    import mmcv.ops  # noqa: F401  (decides which extension is taken)

    spec = importlib.util.find_spec("mmcv._ext")
    compiled = (
        spec is not None and spec.origin is not None and spec.origin.endswith((".so", ".pyd"))
    )
    return "compiled mmcv._ext" if compiled else "mmattn's bridge (torch and torchvision)"


def _own_operators() -> str:
    """Return the backend that each operator of mmattn takes on a CPU."""
    from mmattn.ops import OPERATORS

    return ", ".join(f"{name}: {op.available('cpu')[0]}" for name, op in sorted(OPERATORS.items()))


def _compiler() -> str:
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++", "cl"):
        path = shutil.which(name) if name else None
        if path:
            return f"{path} (found, not needed)"
    return "none (none needed)"


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"CUDA: {torch.cuda.get_device_name()}"
    return "CPU"


def _onnxruntime_providers() -> str:
    try:
        import onnxruntime
    except ImportError:
        return "not installed"
    return ", ".join(onnxruntime.get_available_providers())
