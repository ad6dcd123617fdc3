"""Run the scripts of mmdet and mmseg (``tools/`` of their repositories) with the bridge turned on.

Their packages bring them along. Called by Python alone, they import mmcv's compiled extension,
which is not installed, before a config could import mmattn.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
import types
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path

from mmattn.errors import ConfigError, did_you_mean

#: Packages whose scripts are known by ``package::path``.
PACKAGES = ("mmdet", "mmseg")
_STYLES = ("dark", "darkgrid", "ticks", "white", "whitegrid")  # seaborn's names


def list_scripts() -> list[str]:
    """Return the names of all scripts, such as ``mmdet::analysis_tools/confusion_matrix.py``."""
    return [
        f"{package}::{file.relative_to(root).as_posix()}"
        for package, root in _roots()
        for file in sorted(root.rglob("*.py"))
    ]


def find_script(name: str) -> Path:
    """Return the file of a script.

    Args:
        name: ``package::path``, whose ending ``.py`` may be left out, or a path.

    Raises:
        ConfigError: There is no such script; the message offers the nearest names.
    """
    package, separator, inside = name.partition("::")
    root = dict(_roots()).get(package) if separator else Path()
    if root is not None:
        for end in ("", ".py"):
            file = root / f"{inside if separator else name}{end}"
            if file.is_file():
                return file
    known = list_scripts()
    nearest = did_you_mean(name, known) or did_you_mean(f"{name.removesuffix('.py')}.py", known)
    raise ConfigError(
        f"There is no script {name}.{nearest} `mmattn upstream --list` names them all."
    )


def run_script(file: Path, words: Sequence[str]) -> None:
    """Run a script as ``python FILE WORDS`` does, in this process.

    Where seaborn is missing, its ``set_style``, the one function that the scripts call, is stood in
    for by matplotlib's styles of the same names.

    Args:
        file: The script.
        words: Its arguments.

    Raises:
        SystemExit: The script ends so.
    """
    sys.argv = [str(file), *words]
    sys.path.insert(0, str(file.resolve().parent))  # for modules beside it
    _name_styles()
    runpy.run_path(str(file), run_name="__main__")


def _roots() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            root = Path(place) / ".mim" / "tools"
            if root.is_dir():
                yield package, root


def _name_styles() -> None:
    """Let ``plt.style.use('dark')`` and ``seaborn.set_style('dark')`` work without seaborn."""
    import matplotlib.style

    for style in _STYLES:
        matplotlib.style.library.setdefault(
            style, matplotlib.style.library[f"seaborn-v0_8-{style}"]
        )
    if importlib.util.find_spec("seaborn") is None:
        stand_in = types.ModuleType("seaborn", "What scripts of mmdet and mmseg use of seaborn.")
        stand_in.__spec__ = ModuleSpec("seaborn", None)
        stand_in.__dict__["set_style"] = matplotlib.style.use
        sys.modules["seaborn"] = stand_in
