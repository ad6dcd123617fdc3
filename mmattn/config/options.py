"""Options of a command line, ``--cfg-options key=value ...``: read them and merge them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError, did_you_mean, one_line
from mmattn.given_words import remember

from .data_overrides import (
    apply_data_overrides,
    follow_loaders,
    split_options,
    variables_of_loaders,
)
from .image_size import IMAGE_SIZE, SIDES, set_image_size
from .read_keys import READ_KEYS
from .short_options import SHORT_OPTIONS, apply_short_options
from .walk import walk

if TYPE_CHECKING:
    from mmengine.config import Config

logger = logging.getLogger("mmattn")

#: Options whose value is the path of a folder, with whatever it has in it.
FOLDERS = ("data", "data_root")
_QUOTES = "'\""
#: Stands for a space while mmengine reads an option: a character that Unicode gives no meaning.
_SPACE = "\ue000"


def parse_cfg_options(pairs: list[str] | None) -> dict | None:
    """Read the ``key=value`` words of ``--cfg-options`` as mmengine does, but without its import.

    Values become numbers, booleans, None, lists and tuples where they look like it; spaces inside
    of them are kept, which mmengine drops. The folders of ``data`` and ``data_root`` stay text.

    Raises:
        ConfigError: A word has no ``=``, or a value has a bracket without its counterpart.
    """
    if not pairs:
        return None
    for pair in pairs:
        if "=" not in pair:
            raise ConfigError(
                f"--cfg-options {pair}: expected key=value, without spaces around '='; put a value "
                "that has spaces into quotes."
            )
    import argparse

    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(prog="--cfg-options")
    parser.add_argument("pairs", nargs="+", action=DictAction)
    try:
        read = parser.parse_args(["--", *map(_protected, pairs)]).pairs
    except (AssertionError, ValueError) as error:
        raise ConfigError(f"{' '.join(pairs)}: {_restored(one_line(error))}") from error
    words = dict(pair.split("=", maxsplit=1) for pair in pairs)
    folders = {key: words[key].strip(_QUOTES) for key in FOLDERS if key in words}
    return {**_restored(read), **folders}


def _protected(pair: str) -> str:
    """Return an option in which mmengine's reader keeps the spaces inside of words."""
    key, value = pair.split("=", maxsplit=1)
    if key in FOLDERS:
        return f"{key}=0"  # may have commas and brackets; taken as it is
    value = re.sub(r"(?<=[\[(,])\s+|\s+(?=[\]),])", "", value.strip().strip(_QUOTES))
    return f"{key}={value.replace(' ', _SPACE)}"


def _restored(value: Any) -> Any:
    """Put the spaces back into what ``_protected`` went through."""
    if isinstance(value, str):
        return value.replace(_SPACE, " ")
    if isinstance(value, dict):
        return {key: _restored(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_restored, value))
    return value


def merge_cfg_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Merge options into ``cfg``, in place.

    Args:
        cfg: Config that was just read.
        options: Dotted keys and their new values; ``data``, ``data.KEY`` and ``data_root`` bring
            own data in (see ``data_overrides.py``), ``image_size`` sets the size in every pipeline
            (see ``image_size.py``), ``epochs``, ``iters``, ``batch``, ``lr`` and ``workers`` what
            one means by them (see ``short_options.py``).

    Raises:
        ConfigError: An option names something that cannot be set.
    """
    remember(options)
    of_data, others = split_options(options)
    apply_data_overrides(cfg, of_data)  # first: the others may set details of the new datasets
    if IMAGE_SIZE in others and cfg.get(IMAGE_SIZE) is not None:
        set_image_size(cfg, others.pop(IMAGE_SIZE))
    apply_short_options(cfg, others)
    if not others:
        return
    _check_first_keys(cfg, others)
    set_here = {key.partition(".")[0] for key in others}
    variables = {k: path for k, path in variables_of_loaders(cfg).items() if k not in set_here}
    try:
        cfg.merge_from_dict(others)
    except (KeyError, TypeError, IndexError, AssertionError, AttributeError) as error:
        given = " ".join(f"{key}={value}" for key, value in options.items())
        raise ConfigError(
            f"{cfg.filename}: {given}: {one_line(error)}. Use the dotted keys of the config."
        ) from error
    follow_loaders(cfg, variables)


def _sizes(cfg: Config) -> str:
    """Say which keys of the pipelines hold the size that is asked for."""
    places = [
        path
        for key in cfg
        if key.endswith("_dataloader")
        for path, value in walk(cfg[key], key)
        if path.rpartition(".")[2] in SIDES and isinstance(value, (tuple, list))
    ]
    if not places:
        return "no transform of its pipelines has a size"
    keys = [re.sub(r"\[(\d+)\]", r".\1", place) for place in dict.fromkeys(places)]
    settings = " ".join(f"{key}=WIDTH,HEIGHT" for key in keys)
    return f"set each size by itself, width first: {settings}"


def _check_first_keys(cfg: Config, options: Mapping[str, Any]) -> None:
    """Refuse options under a new top-level key that nothing reads, and warn of variables.

    A misspelt section is left to the checks of the whole config, which know all keys.

    Raises:
        ConfigError: Setting an option would change nothing.
    """
    for option, value in options.items():
        first, dot, _ = option.partition(".")
        if first in READ_KEYS or dot:
            continue
        inside = [
            path
            for key in cfg
            if key in READ_KEYS
            for path, _ in walk(cfg[key], key)
            if path.rpartition(".")[2] == first
        ]
        hint = f" Did you mean {' or '.join(inside[:3])}?" if inside else ""
        if first not in cfg:
            near = (
                did_you_mean(first, (*READ_KEYS, *SHORT_OPTIONS, "data", "data_root"))
                if not hint
                else ""
            )
            if first == "image_size":
                near = f" This config has no such variable; {_sizes(cfg)}"
            raise ConfigError(
                f"{cfg.filename}: {option}={value}: nothing reads the key {first!r}.{hint}{near}"
            )
        logger.warning(
            "%s: %s=%s sets a variable of the file; what the file made of it stays as it is.%s",
            *(cfg.filename, option, value, hint),
        )
