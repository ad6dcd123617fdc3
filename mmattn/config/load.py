"""Read a config and merge options into it. Data is never opened."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.errors import ConfigError, one_line

from .bases import check_bases
from .find import find_config
from .image_size import with_pairs
from .optional_packages import explain_custom_imports
from .options import merge_cfg_options
from .outdated import refuse_outdated
from .sections import check_sections

if TYPE_CHECKING:
    from mmengine.config import Config


def load_config(name: str | Path, cfg_options: dict | None = None) -> Config:
    """Read the config called ``name`` and merge ``cfg_options`` into it.

    Args:
        name: A path, or ``package::path``; see ``find_config``.
        cfg_options: Dotted keys and their new values, as ``--cfg-options`` gives them; ``data``,
            ``data.KEY`` and ``data_root`` bring own data in (see ``data_overrides.py``).

    Raises:
        ConfigError: There is no such file or package, the file or one of its bases cannot be
            read, a section is of a wrong type, or an option names something that cannot be set.
        OutdatedConfigError: It is a config of the time before mmengine.
        MissingPackageError: ``custom_imports`` needs an optional package that is not installed.
    """
    return prepare(read_file(find_config(name)), cfg_options)


def prepare(cfg: Config, cfg_options: dict | None = None) -> Config:
    """Check the sections of a config that was read, and merge options into it, in place.

    Raises:
        ConfigError: As ``load_config``.
    """
    path = cfg.filename
    refuse_outdated(cfg._cfg_dict, str(path))
    check_sections(cfg, str(path))  # first: options are merged into what the sections hold
    if cfg_options:
        merge_cfg_options(cfg, cfg_options)
        check_sections(cfg, str(path))
    with_pairs(cfg)
    return cfg


def read_file(path: Path) -> Config:
    """Read a config and its bases as mmengine does, without any check of what is in them.

    Args:
        path: Path of the config.

    Raises:
        ConfigError: The file or one of its bases cannot be read.
        MissingPackageError: ``custom_imports`` needs an optional package that is not installed.
    """
    from mmengine.config import Config
    from yaml import YAMLError

    check_bases(path)
    try:
        return Config.fromfile(path)
    except ConfigError:  # of a YAML or JSON file, with file and line
        raise
    except (
        *(FileNotFoundError, SyntaxError, KeyError, ImportError, NameError),
        *(AssertionError, ValueError, TypeError, AttributeError, YAMLError),
    ) as error:
        if isinstance(error, ImportError):
            explained = explain_custom_imports(error, str(path))
            if explained is not None:
                raise explained from error
        # What a wrong base, key or import, or a file that was cut off, ends in; anything else is a
        # bug worth its traceback.
        raise ConfigError(f"{path}: the config cannot be read: {_explain(error)}") from error


def _explain(error: Exception) -> str:
    """Return an error of mmengine in one line; keys that two bases share are sorted."""
    text = one_line(error)
    shared = re.search(r"Duplicate key is not allowed among bases\. Duplicate keys: \{(.*)\}", text)
    if shared is None:
        return text
    keys = sorted(key.strip("'\" ") for key in shared[1].split(","))
    return (
        f"two files of _base_ have the same keys: {', '.join(keys)}. Inherit one of them and "
        "override the other's keys in your config."
    )
