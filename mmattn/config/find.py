"""Find a config: a file, the folder of a run, or a name.

Names are ``package::path``, such as ``mmdet::yolox/yolox_tiny_8xb8-300e_coco.py``, and those of
models, such as ``yolov12-n`` or ``yolox_tiny_8xb8-300e_coco``. mmengine resolves the former inside
``_base_`` only; here they work wherever a config is asked for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from mmattn.errors import ConfigError, did_you_mean

from .model_index import ModelEntry, config_names, names_of, read_index
from .run_folders import is_run, run_config

_SUFFIXES = (".py", ".json", ".yaml", ".yml")
_SHOWN = 4  # names in a message
#: Packages whose configs can be called by their names alone.
_NAMED = ("mmattn", "mmdet", "mmseg")


def find_config(name: str | Path) -> Path:
    """Return the file behind a path or a name.

    Args:
        name: A path; the folder of a run, for the config that it was trained with;
            ``package::path`` for a config that an installed package brings along (``mmdet::``,
            ``mmseg::``, ``mmattn::``, ...), whose ending ``.py`` may be left out; or the name of a
            model: an alias or a name of mmattn's index, or of a config of mmattn, mmdet or mmseg.

    Raises:
        ConfigError: There is no such file, package or model; the message offers the nearest names.
    """
    text = str(name)
    package, separator, inside = text.partition("::")
    if not separator:
        if may_be_name(text):
            return _named(text)
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


def model_index() -> tuple[ModelEntry, ...]:
    """Return the models of mmattn; see ``read_index``.

    Raises:
        ConfigError: The index cannot be read.
    """
    return read_index(_config_root("mmattn"))


def may_be_name(text: str) -> bool:
    """Return whether a word can only be the name of a model: no path, and no file is there."""
    path = Path(text)
    plain = bool(text) and text == path.name and path.suffix not in _SUFFIXES
    return plain and not text.startswith("~") and len(text) < 200 and not path.exists()


def _named(name: str) -> Path:
    """Return the config of a model.

    Raises:
        ConfigError: No model, or more than one, has that name.
    """
    entries = dict(names_of(model_index()))
    if name in entries:
        return entries[name]
    roots = dict(_roots())
    found = [
        f"{package}::{file.relative_to(root)}"
        for package, root in roots.items()
        for file in config_names(root).get(name, ())
    ]
    if len(found) > 1:
        raise ConfigError(f"{name} is the name of several configs: {', '.join(found)}.")
    if found:
        package, _, inside = found[0].partition("::")
        return roots[package] / inside
    known = dict.fromkeys(entries)
    known |= dict.fromkeys(one for root in roots.values() for one in config_names(root))
    begun = sorted((one for one in known if one.startswith(name)), key=lambda one: (len(one), one))
    if begun:
        more = f" and {len(begun) - _SHOWN} more" if len(begun) > _SHOWN else ""
        hint = f" There are {', '.join(begun[:_SHOWN])}{more}."
    else:
        hint = did_you_mean(name, (*known, *_siblings(Path())))
    raise ConfigError(
        f"There is no config {name}, and no model of that name.{hint} mmattn models lists those of "
        "mmattn."
    )


def _roots() -> Iterator[tuple[str, Path]]:
    """Yield the folders of configs of the packages that are installed."""
    for package in _NAMED:
        try:
            yield package, _config_root(package)
        except ConfigError:
            continue  # its configs cannot be what was meant


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
        if root is None and is_run(path):
            return run_config(path)
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
