"""The machine: processor, GPUs, folders of caches with their space, variables that matter."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from mmattn.environment import machine as describe_machine

from .findings import Finding

#: Variables that decide where things come from, where they go, and what runs.
VARIABLES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "HF_ENDPOINT", "HF_HOME"),
    *("HF_HUB_OFFLINE", "TORCH_HOME", "XDG_CACHE_HOME"),
    *("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "CXX"),
)
#: Free bytes below which a folder is too full for a training.
_LITTLE = 2 * 2**30
_USER = re.compile(r"(?:(?<=://)|^)[^/\s]+@")


def hardware() -> Iterator[Finding]:
    """Describe the processor and the GPUs, or say why there is none."""
    import torch

    for name, value in describe_machine().items():
        yield Finding(name, value)
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            memory = f"{properties.total_memory / 2**30:.0f} GiB"
            what = f"compute capability {properties.major}.{properties.minor}, {memory}"
            yield Finding(f"GPU {index}", properties.name, what)
        return
    if torch.version.cuda is None:
        why = "this torch is built without CUDA"
    elif os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        why = "CUDA_VISIBLE_DEVICES is empty"
    else:
        why = f"torch is built with CUDA {torch.version.cuda}, and finds no device or no driver"
    yield Finding("GPU", "none", why)


def folders() -> Iterator[Finding]:
    """Name the folders that are written to, with the space that is left there."""
    from torch import hub

    from mmattn.ops.build import cache_directory
    from mmattn.weights.cache import cache_folder

    places = {
        "runs": Path("work_dirs").absolute(),
        "weights by name": cache_folder(),
        "downloaded weights": Path(hub.get_dir()),
        "compiled operators": cache_directory(),
        "Hugging Face": Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser(),
    }
    for name, place in places.items():
        yield _folder(name, place)


def _folder(name: str, place: Path) -> Finding:
    existing = place
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    note = f"{free / 2**30:.1f} GiB free"
    if not place.exists():
        note += ", does not exist yet"
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Finding(name, str(place), f"{existing} cannot be written to", broken=name == "runs")
    if free < _LITTLE:
        note += ", which is little"
    return Finding(name, str(place), note)


def variables() -> Iterator[Finding]:
    """List the variables that are set; a password in an address is left out."""
    known = [name for name in VARIABLES if name in os.environ]
    own = sorted(name for name in os.environ if name.startswith("MMATTN_"))
    for name in (*known, *own):
        yield Finding(name, _USER.sub("…@", os.environ[name]))
