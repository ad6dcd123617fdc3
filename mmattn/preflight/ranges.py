"""Numbers that cannot be meant, by the names of their keys: probabilities, sizes, counts, ratios.

Names mean the same in all of mmdet, mmseg and mmcv, whatever class takes them; what one of them
allows besides (``dropout_ratio=-1``, shares of an image as ``crop_size``) passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mmattn.config.walk import LOADERS, walk
from mmattn.errors import did_you_mean
from mmattn.type_names import bare_name

from .numbers import is_number, is_share

_PROBABILITIES = frozenset(
    {
        *("prob", "flip_ratio", "cat_max_ratio", "dropout_ratio", "drop_rate", "drop_path_rate"),
        *("attn_drop_rate", "proj_drop_rate", "label_smooth_val"),
    }
)
#: Thresholds of overlaps.
_OVERLAPS = frozenset({"iou_threshold", "iou_thr", "pos_iou_thr", "neg_iou_thr"})
#: Whole numbers above 0, or lists of them, in models.
_COUNTS = frozenset(
    {"num_classes", "in_channels", "out_channels", "channels", "feat_channels", "embed_dims"}
)
_DIRECTIONS = ("horizontal", "vertical", "diagonal")
_RESIZES = frozenset({"Resize", "RandomResize", "RandomChoiceResize", "FixScaleResize"})
_CROPS = frozenset({"RandomCrop", "ClassBalancedCrop"})


def range_problems(cfg: Mapping[str, Any], splits: Sequence[str]) -> list[str]:
    """List numbers that no class can mean.

    Args:
        cfg: The whole config.
        splits: Splits that are run, of ``train``, ``val`` and ``test``.

    Returns:
        Problems, each a sentence that begins with the key.
    """
    problems: list[str] = []
    loaders = [f"{split}_dataloader" for split in splits if f"{split}_dataloader" in LOADERS]
    for section in ("model", "data_preprocessor", "custom_hooks", *loaders):
        for path, value in walk(cfg.get(section), section):
            if isinstance(value, Mapping):
                problems += _of_block(path, value)
    return problems


def _of_block(path: str, block: Mapping[str, Any]) -> Iterator[str]:
    name = bare_name(block.get("type"))
    in_model = path.partition(".")[0] in ("model", "data_preprocessor")
    for key, value in block.items():
        place = f"{path}.{key}"
        if key in _PROBABILITIES:
            yield from _each(place, value, _is_share_or_unset, "a number from 0 to 1")
        elif key in _OVERLAPS:
            yield from _each(place, value, _is_share_or_unset, "an overlap from 0 to 1")
        elif key in _COUNTS and in_model:
            yield from _each(place, value, _is_count, "a whole number from 1 on")
        elif key == "max_per_img":
            yield from _each(place, value, _is_count_or_all, "a whole number from 1 on, or -1,")
        elif key == "score_thr":
            yield from _each(place, value, is_number, "a number")
        elif key == "crop_size" and (name in _CROPS or in_model):
            yield from _sizes(place, value, shares=True)
        elif _is_size(path, key, name):
            yield from _sizes(place, value, shares=False)
        elif key == "ratio_range" and _is_pair(value):
            low, high = value
            if not 0 < low <= high:
                yield f"{place}={value}: two numbers above 0 are expected, the smaller one first"
        elif key == "direction" and name == "RandomFlip":
            words = [value] if isinstance(value, str) else value
            for word in words if isinstance(words, (list, tuple)) else ():
                if word not in _DIRECTIONS:
                    hint = did_you_mean(str(word), _DIRECTIONS)
                    yield f"{place}={word!r}: give one of {', '.join(_DIRECTIONS)}.{hint}"
    if isinstance(block.get("mean"), (list, tuple)) and isinstance(block.get("std"), (list, tuple)):
        yield from _normalization(path, block["mean"], block["std"])
    if name.endswith("EMA") or name == "EMAHook":
        momentum = block.get("momentum")
        if momentum is not None and not (is_number(momentum) and 0 < momentum < 1):
            yield f"{path}.momentum={momentum!r}: a number between 0 and 1 is expected"
    if name == "Resize" and not any(block.get(key) for key in ("scale", "scale_factor")):
        yield f"{path}.scale is missing: say the size, scale=(width, height), or scale_factor"
    if name == "EarlyStoppingHook" and "patience" in block and not _is_count(block["patience"]):
        yield f"{path}.patience={block['patience']!r}: a whole number from 1 on is expected"


def _is_size(path: str, key: str, name: str) -> bool:
    """Return whether a setting is a size in pixels."""
    places = {"stride": "test_cfg", "size": "data_preprocessor"}
    if key in places:
        return path.endswith(places[key])
    return key in ("scale", "scales") and name in _RESIZES


def _normalization(path: str, mean: Sequence[Any], std: Sequence[Any]) -> Iterator[str]:
    for key, values in (("mean", mean), ("std", std)):
        wrong = [value for value in values if not is_number(value)]
        if wrong:
            yield f"{path}.{key}={list(values)!r}: numbers are expected, not {wrong[0]!r}"
    if any(is_number(value) and value <= 0 for value in std):
        yield f"{path}.std={list(std)!r}: images are divided by it: numbers above 0 are expected"
    if len(mean) != len(std):
        yield (
            f"{path}.mean has {len(mean)} values and std {len(std)}: one for each channel of the "
            "images is expected"
        )


def _sizes(place: str, value: Any, *, shares: bool) -> Iterator[str]:
    """Judge a size, or a list of sizes."""
    if isinstance(value, str):
        yield f"{place}={value!r} is a text: a pair of numbers is expected, such as (512, 512)"
        return
    flat = list(_numbers(value))
    wrong = [v for v in flat if not is_number(v, infinite=True) or (v <= 0 and v != -1)]
    if shares:
        wrong += [v for v in flat if isinstance(v, float) and v > 1 and v != int(v)]
    if wrong:
        yield f"{place}={value!r:.60}: sizes are numbers of pixels above 0, not {wrong[0]!r}"


def _each(place: str, value: Any, fits: Callable[[Any], bool], wanted: str) -> Iterator[str]:
    if value is None or value == "auto" or isinstance(value, Mapping):
        return
    wrong = [item for item in _numbers(value) if not fits(item)]
    if wrong:
        yield f"{place}={value!r:.60}: {wanted} is expected"


def _numbers(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _numbers(item)
    elif not isinstance(value, Mapping):
        yield value


def _is_share_or_unset(value: Any) -> bool:
    return value is None or value == -1 or is_share(value)


def _is_count(value: Any) -> bool:
    return is_number(value) and value == int(value) and value >= 1


def _is_count_or_all(value: Any) -> bool:
    return value == -1 or _is_count(value)


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(is_number, value))
