"""Build a dataset for what it says about itself: without its pipeline, its files unread."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from mmattn.errors import ConfigError, DataError, MMAttnError, one_line


def lazy_dataset(cfg: Mapping[str, Any], where: str) -> Any:
    """Build a dataset without its pipeline and without reading its files.

    Args:
        cfg: Config of the dataset.
        where: Config key of the dataset, used in messages.

    Returns:
        The dataset; None when its class cannot be built that way.

    Raises:
        ConfigError: Class names that are not a sequence, or arguments that the class lacks.
        DataError: A file that the dataset opens at once is missing.
    """
    from mmengine.registry import DATASETS

    _check_class_names(cfg, where)
    cfg = deepcopy(dict(cfg))
    cfg.update(pipeline=[], lazy_init=True)
    if "serialize_data" in cfg:
        cfg["serialize_data"] = False
    try:
        with located(where):
            return DATASETS.build(cfg)
    except MMAttnError:
        raise
    except TypeError as error:
        if "lazy_init" in str(error) or "'pipeline'" in str(error):
            return None  # not one of mmengine's: only its author knows how to check it
        raise ConfigError(
            f"{where}: {cfg.get('type')} cannot be built: {one_line(error)}"
        ) from error
    except (OSError, AssertionError, ValueError, KeyError) as error:
        cls = DataError if isinstance(error, OSError) else ConfigError
        raise cls(f"{where}: {cfg.get('type')} cannot be built: {one_line(error)}") from error


@contextmanager
def located(where: str) -> Iterator[None]:
    """Put the config key of a dataset before what the dataset itself finds wrong."""
    try:
        yield
    except MMAttnError as error:
        raise type(error)(f"{where}: {error}") from error


def _check_class_names(cfg: Mapping[str, Any], where: str) -> None:
    classes = (cfg.get("metainfo") or {}).get("classes")
    if isinstance(classes, str) and not os.path.isfile(classes):
        raise ConfigError(
            f"{where}.metainfo.classes={classes!r} is a string, not a list of names: "
            f"write classes=({classes!r},) with a comma"
        )
