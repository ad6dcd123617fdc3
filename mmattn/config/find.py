"""Find a config: a file, or a name such as ``mmdet::yolox/yolox_tiny_8xb8-300e_coco.py``.

mmengine resolves such names inside ``_base_`` only; here they work wherever a config is asked for.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from mmattn.errors import ConfigError, did_you_mean

_SUFFIXES = (".py", ".json", ".yaml", ".yml")
_SHOWN = 4  # names in a message


def find_config(name: str | Path) -> Path:
    """Return the file behind a path or a ``package::path`` name.

    Args:
        name: A path, or ``package::path`` for a config that an installed package brings along
            (``mmdet::``, ``mmseg::``, ``mmattn::``, ...); the ending ``.py`` may be left out there.

    Raises:
        ConfigError: There is no such file or package; the message offers the nearest names.
    """
    text = str(name)
    package, separator, inside = text.partition("::")
    if not separator:
        try:
            return _existing(Path(text).expanduser(), shown=text)
        except RuntimeError as error:  # the home of a user who does not exist
            raise ConfigError(f"There is no config {text:.200}: {error}") from error
    root = _config_root(package)
    return _existing(root / inside, shown=text, root=root, prefix=f"{package}::")


def find_base(name: str, folder: Path) -> Path:
    """Return the file behind an entry of ``_base_``.

    Args:
        name: A path relative to ``folder``, an absolute one, or ``package::path``.
        folder: Folder of the config that names it.

    Raises:
        ConfigError: There is no such file or package; the message offers the nearest names.
    """
    return find_config(name) if "::" in name else _existing(folder / name, shown=name)


def _config_root(package: str) -> Path:
    """Return the folder of configs of ``package``: a wheel, a checkout or an editable install."""
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
    try:
        return _look_up(path, shown=shown, root=root, prefix=prefix)
    except OSError as error:  # too long a name, a folder that may not be looked into
        raise ConfigError(f"There is no config {shown:.200}: {error.strerror}") from error


def _look_up(path: Path, *, shown: str, root: Path | None, prefix: str) -> Path:
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
    """Suggest files for a missing one: by its whole path, then by its name in other folders."""
    if root is None:
        near = _siblings(path.parent)
        hint = did_you_mean(path.name, near)
        if hint or path.parent.is_dir():
            return hint or f" {path.parent.resolve()} has no file of that name."
        return f" The folder {path.parent.resolve()} does not exist.{_nearest_folder(path)}"
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
    if hint:
        return hint.replace(" '", f" '{prefix}")
    begun = sorted(
        relative for relative in files if relative.startswith(str(path.relative_to(root)))
    )
    if begun:
        more = ", ..." if len(begun) > _SHOWN else ""
        return f" There are {', '.join(prefix + one for one in begun[:_SHOWN])}{more}."
    return f" Its folder is {root}."


def _nearest_folder(path: Path) -> str:
    """Suggest the nearest name for the first folder of a path that does not exist."""
    for folder in reversed(path.resolve().parents):
        if not folder.is_dir():
            inside = [one.name for one in folder.parent.iterdir() if one.is_dir()]
            return did_you_mean(folder.name, inside)
    return ""


def _siblings(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return [file.name for file in folder.iterdir() if file.suffix in _SUFFIXES]
