"""Which family of the OpenMMLab packages is installed: the originals, or the forks ``onedl-*``.

Both own the same folders (``mmdet``, ``mmseg``, …), so with both installed, files of the one have
overwritten files of the other. Only the metadata of the installed distributions is read.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Sequence
from importlib.metadata import distributions

#: Import name -> distributions of the fork, and of the original.
OWNERS = {
    "mmengine": (("onedl-mmengine",), ("mmengine", "mmengine-lite")),
    "mmcv": (("onedl-mmcv",), ("mmcv", "mmcv-lite", "mmcv-full")),
    "mmdet": (("onedl-mmdetection",), ("mmdet",)),
    "mmseg": (("onedl-mmsegmentation",), ("mmsegmentation",)),
}


def describe_families(path: Sequence[str] | None = None) -> list[str]:
    """Lines that say which packages are installed, and warn of those that overwrite each other.

    Args:
        path: Folders with the distributions' metadata; default: ``sys.path``.
    """
    found = _installed(sys.path if path is None else path)
    forks, originals = (
        [
            f"{name} {found[name]}"
            for owners in OWNERS.values()
            for name in owners[i]
            if name in found
        ]
        for i in (0, 1)
    )
    if not forks and not originals:
        return ["OpenMMLab packages: none (the operators need torch alone)"]
    lines = []
    if forks:
        lines.append(f"OpenMMLab packages, the forks: {', '.join(forks)}")
    if originals:
        lines.append(f"OpenMMLab packages, the originals: {', '.join(originals)}")
    for module, owners in OWNERS.items():
        both = [name for name in (*owners[0], *owners[1]) if name in found]
        if len(both) > 1:
            lines.append(_warning(module, both, found))
    return lines


def _installed(path: Sequence[str]) -> dict[str, str]:
    """Distribution name -> version; of two with one name, that which is imported."""
    found: dict[str, str] = {}
    for distribution in distributions(path=list(path)):
        name = distribution.metadata["Name"]
        if name:  # half-removed installations have none
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return found


def _warning(module: str, both: Sequence[str], found: dict[str, str]) -> str:
    keep = both[0]
    if importlib.util.find_spec("pip") is not None:
        remove, install = "python -m pip uninstall -y", "python -m pip install --no-deps"
    else:
        remove, install = "uv pip uninstall", "uv pip install --no-deps"
    return (
        f"WARNING: {' and '.join(both)} are both installed and own the same folder, {module}: "
        f"files of one have overwritten those of the other. Keep one, here {keep}: "
        f"{remove} {' '.join(both)} && {install} {keep}=={found[keep]}"
    )
