"""Finds installed packages without ``pkg_resources``, which setuptools 82 has dropped.

The original mmengine imports it to resolve ``mmdet::…`` and other names of packages. The standard
library's ``importlib.metadata`` answers the same questions, also for editable installs.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from ._replacing import replace


def patch_package_lookup(package_utils: ModuleType) -> None:
    """Replace the look-ups of ``mmengine.utils.package_utils`` that need ``pkg_resources``."""
    for function in (is_installed, get_installed_path, package2module):
        name = function.__name__
        if "pkg_resources" in getattr(package_utils, name).__code__.co_names:
            replace(package_utils, name, function)


def is_installed(package: str) -> bool:
    """Whether there is a distribution or an importable package of this name."""
    try:
        distribution(package)
    except PackageNotFoundError:
        spec = find_spec(package)
        return spec is not None and spec.origin is not None
    return True


def get_installed_path(package: str) -> str:
    """The folder of a package, which is called by its import name or that of its distribution.

    Raises:
        PackageNotFoundError: It is not installed.
        RuntimeError: It is a namespace package, which has no single folder.
    """
    spec = find_spec(package)
    if spec is None:
        try:
            spec = find_spec(package2module(package))
        except ValueError:
            spec = None
    if spec is None:
        raise PackageNotFoundError(package)
    if spec.origin is None:
        raise RuntimeError(f"{package} is a namespace package: it has no folder of its own.")
    return str(Path(spec.origin).parent)


def package2module(package: str) -> str:
    """The import name of a distribution.

    Raises:
        PackageNotFoundError: It is not installed.
        ValueError: Its metadata does not tell the import name.
    """
    names = (distribution(package).read_text("top_level.txt") or "").split()
    if not names:
        raise ValueError(f"The metadata of {package} has no top_level.txt: its import name is open")
    return names[0]
