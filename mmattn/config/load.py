"""Find and read a config: a file, or a name such as ``mmdet::yolox/yolox_tiny_8xb8-300e_coco.py``.

mmengine resolves such names inside ``_base_`` only; here they work wherever a config is asked for.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.errors import ConfigError, did_you_mean, one_line

from .data_overrides import apply_data_overrides, split_options

if TYPE_CHECKING:
    from mmengine.config import Config

_SUFFIXES = (".py", ".json", ".yaml", ".yml")


def load_config(name: str | Path, cfg_options: dict | None = None) -> Config:
    """Read the config called ``name`` and merge ``cfg_options`` into it.

    Args:
        name: A path, or ``package::path`` for a config that an installed package brings along
            (``mmdet::``, ``mmseg::``, ``mmattn::``, …); the ending ``.py`` may be left out there.
        cfg_options: Dotted keys and their new values, as ``--cfg-options`` gives them; ``data``,
            ``data.KEY`` and ``data_root`` bring own data in (see ``own_data.py``).

    Raises:
        ConfigError: There is no such file or package, the file or one of its bases cannot be
            read, or an option names something that cannot be set.
    """
    from mmengine.config import Config
    from yaml import YAMLError

    path = find_config(name)
    try:
        cfg = Config.fromfile(path)
    except (
        *(FileNotFoundError, SyntaxError, KeyError, ImportError, NameError),
        *(AssertionError, ValueError, YAMLError),
    ) as error:
        # What a wrong base, key or import, or a file that was cut off, ends in; anything else is a
        # bug worth its traceback.
        raise ConfigError(f"{path}: the config cannot be read: {one_line(error)}") from error
    ours, others = split_options(cfg_options or {})
    apply_data_overrides(cfg, ours)  # first: the others may set details of the new datasets
    if others:
        try:
            cfg.merge_from_dict(others)
        except (KeyError, TypeError, IndexError, AssertionError, AttributeError) as error:
            given = " ".join(f"{key}={value}" for key, value in cfg_options.items())
            raise ConfigError(
                f"{path}: --cfg-options {given}: {one_line(error)}. "
                "Use the dotted keys of the config."
            ) from error
    return cfg


def find_config(name: str | Path) -> Path:
    """The file behind a path or a ``package::path`` name.

    Raises:
        ConfigError: Nothing is there; the message offers the nearest names.
    """
    text = str(name)
    package, separator, inside = text.partition("::")
    if not separator:
        return _existing(Path(text).expanduser(), shown=text)
    root = _config_root(package)
    return _existing(root / inside, shown=text, root=root, prefix=f"{package}::")


def parse_cfg_options(pairs: list[str] | None) -> dict | None:
    """Read the ``key=value`` words of ``--cfg-options`` as mmengine does, but without its import.

    Values become numbers, booleans, None, lists and tuples where they look like it.

    Raises:
        ConfigError: A word has no ``=``.
    """
    if not pairs:
        return None
    for pair in pairs:
        if "=" not in pair:
            raise ConfigError(f"--cfg-options {pair}: expected key=value, without spaces.")
    import argparse

    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(prog="--cfg-options")
    parser.add_argument("pairs", nargs="+", action=DictAction)
    try:
        return parser.parse_args(["--", *pairs]).pairs
    except (AssertionError, ValueError) as error:
        raise ConfigError(f"--cfg-options {' '.join(pairs)}: {one_line(error)}") from error


def _config_root(package: str) -> Path:
    """Where ``package`` keeps its configs, be it a wheel, a checkout or an editable install."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        hint = did_you_mean(package, ("mmattn", "mmdet", "mmseg"))
        raise ConfigError(f"{package}::…: no package {package!r} is installed here.{hint}")
    for location in spec.submodule_search_locations:
        root = Path(location) / ".mim" / "configs"
        if root.is_dir():
            return root.resolve()
    raise ConfigError(
        f"{package}::…: the installed package {package!r} brings no configs (.mim/configs)."
    )


def _existing(path: Path, *, shown: str, root: Path | None = None, prefix: str = "") -> Path:
    candidates = [path]
    if root is not None and path.suffix not in _SUFFIXES:
        candidates.append(path.with_name(path.name + ".py"))
    for candidate in candidates:
        if candidate.is_file():
            if candidate.suffix not in _SUFFIXES:
                raise ConfigError(
                    f"{shown} is not a config: its name must end in {', '.join(_SUFFIXES)}."
                )
            return candidate
    if path.is_dir():
        inside = sorted(file.name for file in path.glob("*.py"))[:3]
        listed = f" It holds {', '.join(inside)}, …" if inside else ""
        raise ConfigError(f"{shown} is a folder, not a config.{listed}")
    raise ConfigError(f"There is no config {shown}.{_nearest(path, root, prefix)}")


def _nearest(path: Path, root: Path | None, prefix: str) -> str:
    """A did-you-mean for a missing file: its whole path first, then its name in other folders."""
    if root is None:
        near = _siblings(path.parent)
        hint = did_you_mean(path.name, near)
        if hint or path.parent.is_dir():
            return hint or f" {path.parent.resolve()} has no file of that name."
        return f" The folder {path.parent.resolve()} does not exist."
    files = {
        str(f.relative_to(root)): f.name for f in root.rglob("*.py") if "_base_" not in f.parts
    }
    wanted = path.name if path.suffix in _SUFFIXES else path.name + ".py"
    hint = did_you_mean(str(path.relative_to(root).with_name(wanted)), files)
    if not hint:
        by_name = {name: relative for relative, name in files.items()}
        hint = did_you_mean(wanted, by_name)
        for name, relative in by_name.items():
            hint = hint.replace(repr(name), repr(relative))
    return hint.replace(" '", f" '{prefix}") if hint else f" Its folder is {root}."


def _siblings(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return [file.name for file in folder.iterdir() if file.suffix in _SUFFIXES]
