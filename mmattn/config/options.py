"""Options of a command line, ``--cfg-options key=value ...``: read them and merge them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError, one_line

from .data_overrides import apply_data_overrides, split_options

if TYPE_CHECKING:
    from mmengine.config import Config


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


def merge_cfg_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Merge options into ``cfg``, in place.

    Args:
        cfg: Config that was just read.
        options: Dotted keys and their new values; ``data``, ``data.KEY`` and ``data_root`` bring
            own data in (see ``data_overrides.py``).

    Raises:
        ConfigError: An option names something that cannot be set.
    """
    of_data, others = split_options(options)
    apply_data_overrides(cfg, of_data)  # first: the others may set details of the new datasets
    if not others:
        return
    try:
        cfg.merge_from_dict(others)
    except (KeyError, TypeError, IndexError, AssertionError, AttributeError) as error:
        given = " ".join(f"{key}={value}" for key, value in options.items())
        raise ConfigError(
            f"{cfg.filename}: --cfg-options {given}: {one_line(error)}. "
            "Use the dotted keys of the config."
        ) from error
