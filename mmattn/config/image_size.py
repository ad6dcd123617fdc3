"""Sizes in pipelines: pairs that were written as lists, and one size for all of them.

A size of a transform is a tuple: mmcv, mmdet and mmseg tell a pair of sides from a list of choices
by that. A command line, YAML and JSON have lists alone, so pairs of numbers become tuples here.

``image_size=HEIGHT,WIDTH`` in ``--cfg-options`` trains, validates and tests a config at another
size, if the file says which size it has now::

    image_size = (480, 640)  # height, width
    scale = image_size[::-1]  # as transforms write it: width, height
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError

from .walk import rewrite, walk

if TYPE_CHECKING:
    from mmengine.config import Config

logger = logging.getLogger("mmattn")

#: The option, and the variable of a config.
IMAGE_SIZE = "image_size"
#: Arguments of transforms that are width and height in pixels, or choices of them.
SIDES = ("scale", "scales", "size", "img_scale")
#: Others that are pairs of pixels.
_PAIRS = (*SIDES, "crop_size", "cutout_shape")
#: Sections whose parts are no transforms, but may have arguments of these names.
_NO_TRANSFORMS = ("model", "optim_wrapper", "param_scheduler", "data_preprocessor", "tta_model")


def with_pairs(cfg: Config) -> None:
    """Turn lists of two numbers into tuples where a transform takes a size, in place."""
    for key in [key for key in cfg if key not in _NO_TRANSFORMS]:
        if any(_is_step(value) for _, value in walk(cfg[key])):
            cfg[key] = rewrite(cfg[key], _paired)


def set_image_size(cfg: Config, size: Any) -> None:
    """Give every transform that has the size of ``cfg.image_size`` another one.

    Args:
        cfg: Config with the variable ``image_size``, (height, width); it is changed.
        size: Height and width in pixels, or one number for both.

    Raises:
        ConfigError: It is no size, or not every place that has the old one can be changed.
    """
    new = _size_of(size, cfg)
    old = tuple(cfg[IMAGE_SIZE])
    sides = old[::-1]
    # Elsewhere the order of the sides is not known, or the value may mean something else.
    others = [
        path
        for key in cfg
        for path, value in walk(cfg[key], key)
        if "." in path and _is_pair(value) and tuple(value) in (old, sides)
        if key in _NO_TRANSFORMS or path.rpartition(".")[2].partition("[")[0] not in SIDES
    ]
    if others:
        raise ConfigError(
            f"{cfg.filename}: image_size={_shown(new)}: {', '.join(others[:3])} has "
            f"the size {old} as well, and may mean another order of the sides. Set the size of "
            "each transform by its own key"
        )
    changed: list[str] = []
    left: list[str] = []

    def change(path: str, value: Any) -> Any:
        if not _is_step(value):
            return value
        for key in SIDES:
            if key not in value:
                continue
            if _is_pair(value[key]) and tuple(value[key]) == sides:
                value = {**value, key: new[::-1]}
                changed.append(f"{path}.{key}")
            else:
                left.append(f"{path}.{key}={value[key]}")
        return value

    for key in [key for key in cfg if key not in _NO_TRANSFORMS and key != IMAGE_SIZE]:
        if _is_pair(cfg[key]) and tuple(cfg[key]) == sides and key in ("scale", "img_scale"):
            cfg[key] = new[::-1]
        elif any(_is_step(value) for _, value in walk(cfg[key])):
            cfg[key] = rewrite(cfg[key], change, key)
    if not changed:
        raise ConfigError(
            f"{cfg.filename}: image_size={_shown(new)}: no transform has the size "
            f"(width {old[1]}, height {old[0]}) that the variable image_size says. Set the size of "
            "each transform by its own key"
        )
    for place in left:
        logger.warning("image_size=%s leaves %s as it is", _shown(new), place)
    cfg[IMAGE_SIZE] = new


def size_problems(path: str, step: Mapping[str, Any]) -> list[str]:
    """List arguments of a transform that are no size: each a sentence that begins with the key.

    Args:
        path: Path of the transform in the config.
        step: The transform.
    """
    found = []
    for key in _PAIRS:
        value = step.get(key)
        wrong = isinstance(value, str) or (
            isinstance(value, (list, tuple))
            and _are_numbers(value)
            # ``scales`` may be any number of choices of the shorter side.
            and (
                (len(value) != 2 and key != "scales")
                or any(side <= 0 and side != -1 for side in value)
            )
        )
        if wrong:
            order = "width,height" if key in SIDES else "two sides"
            found.append(
                f"{path}.{key}={value!r} is no size: give two numbers of pixels ({order}), "
                f"such as {key}=640,480"
            )
    return found


def _size_of(size: Any, cfg: Config) -> tuple[int, int]:
    sides = [size, size] if isinstance(size, int) else size
    whole = isinstance(sides, (list, tuple)) and all(type(side) is int for side in sides)
    if not whole or len(sides) != 2 or min(sides) < 1:
        raise ConfigError(
            f"{cfg.filename}: image_size={size}: give height and width in pixels, "
            "image_size=480,640, or one number for both"
        )
    return sides[0], sides[1]


def _paired(path: str, value: Any) -> Any:
    if not _is_step(value):
        return value
    return {
        # Two numbers may be two choices of a shorter side where choices are meant.
        key: _choices(inner)
        if key == "scales"
        else _paired_value(inner)
        if key in _PAIRS
        else inner
        for key, inner in value.items()
    }


def _paired_value(value: Any) -> Any:
    return tuple(value) if _is_pair(value) else _choices(value)


def _choices(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [tuple(inner) if _is_pair(inner) else inner for inner in value]


def _is_step(value: Any) -> bool:
    return isinstance(value, Mapping) and "type" in value and any(key in value for key in _PAIRS)


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and _are_numbers(value)


def _are_numbers(value: Sequence[Any]) -> bool:
    return bool(value) and all(
        isinstance(side, (int, float)) and not isinstance(side, bool) for side in value
    )


def _shown(size: tuple[int, int]) -> str:
    return f"{size[0]},{size[1]}"
