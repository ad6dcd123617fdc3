"""torchvision's MobileNetV2 weights (``features.*``) for the backbones of mmseg and mmdet.

The three number the same network differently. Below, a torchvision block ``features.<n>`` is
block ``layer<l>.<b>``, and inside it come the expanding 1x1 convolution (which the first block
lacks), the 3x3 depthwise one and the linear 1x1 one, each with its norm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, partial

from torch import Tensor

from .convert import Converter, StateDict, register_converter, rename_keys

_BLOCKS_PER_LAYER = (1, 2, 3, 4, 3, 3, 1)
#: Where torchvision's ``features.1`` to ``features.17`` are in mmseg and mmdet.
PLACES = [
    f"layer{layer}.{block}"
    for layer, blocks in enumerate(_BLOCKS_PER_LAYER, start=1)
    for block in range(blocks)
]
# torchvision's name inside a block -> (0 expanding, 1 depthwise, 2 linear; convolution or norm).
_IN_BLOCK = {
    "0.0": (0, "conv"),
    "0.1": (0, "bn"),
    "1.0": (1, "conv"),
    "1.1": (1, "bn"),
    "2": (2, "conv"),
    "3": (2, "bn"),
}
_IN_FIRST_BLOCK = {"0.0": (1, "conv"), "0.1": (1, "bn"), "1": (2, "conv"), "2": (2, "bn")}


def _mmseg_name(place: str, step: int, part: str) -> str:
    step -= place == "layer1.0"  # no expansion there, so the others move up
    return f"{place}.conv.{step}.{part}"


def _mmdet_name(place: str, step: int, part: str) -> str:
    return f"{place}.{('expand_conv', 'depthwise_conv', 'linear_conv')[step]}.{part}"


_BLOCK_NAMES: dict[str, Callable[[str, int, str], str]] = {
    "mmseg": _mmseg_name,
    "mmdet": _mmdet_name,
}


def mm_mobilenetv2_name(key: str, target: str) -> str | None:
    """Return the name of torchvision's ``key`` in ``target``, "mmseg" or "mmdet", or None."""
    if match := re.fullmatch(r"features\.(0|18)\.([01])\.(\w+)", key):
        number, part, entry = match.groups()
        return f"{'conv1' if number == '0' else 'conv2'}.{('conv', 'bn')[int(part)]}.{entry}"
    if match := re.fullmatch(r"features\.(\d+)\.conv\.([\d.]+)\.(\w+)", key):
        number, inside, entry = int(match[1]), match[2], match[3]
        steps = _IN_FIRST_BLOCK if number == 1 else _IN_BLOCK
        if 1 <= number <= len(PLACES) and inside in steps:
            return f"{_BLOCK_NAMES[target](PLACES[number - 1], *steps[inside])}.{entry}"
    return None


def torchvision_mobilenetv2_name(key: str, target: str) -> str | None:
    """The way back of ``mm_mobilenetv2_name``."""
    part, _, entry = key.rpartition(".")
    theirs = _torchvision_parts(target).get(part)
    return theirs and f"{theirs}.{entry}"


@cache
def _torchvision_parts(target: str) -> dict[str, str]:
    ends = [f"features.{number}.{part}" for number in (0, 18) for part in (0, 1)]
    blocks = [
        f"features.{number}.conv.{inside}"
        for number in range(1, len(PLACES) + 1)
        for inside in (_IN_FIRST_BLOCK if number == 1 else _IN_BLOCK)
    ]
    names = ((part, mm_mobilenetv2_name(f"{part}.weight", target)) for part in ends + blocks)
    return {name.removesuffix(".weight"): part for part, name in names if name is not None}


def _recognises(state_dict: Mapping[str, Tensor]) -> bool:
    return (
        "features.1.conv.0.0.weight" in state_dict
        and "features.17.conv.3.weight" in state_dict
        and "features.0.0.weight" in state_dict
        # With attention blocks it is a network of others.
        and not any(key.startswith("features.17.conv.4") for key in state_dict)
    )


def _convert(state_dict: StateDict, target: str) -> StateDict:
    return rename_keys(state_dict, partial(mm_mobilenetv2_name, target=target))


def _reverse(state_dict: StateDict, target: str) -> StateDict:
    return rename_keys(state_dict, partial(torchvision_mobilenetv2_name, target=target))


register_converter(
    Converter(
        name="torchvision-mobilenetv2-mmseg",
        description="torchvision mobilenet_v2 -> mmseg MobileNetV2, also mmattn DilatedMobileNetV2",
        recognises=_recognises,
        convert=partial(_convert, target="mmseg"),
        reverse=partial(_reverse, target="mmseg"),
        # mmseg stops before the last 1x1 convolution.
        ignores=("features.18.", "classifier."),
    )
)
register_converter(
    Converter(
        name="torchvision-mobilenetv2-mmdet",
        description="torchvision mobilenet_v2 -> mmdet MobileNetV2",
        recognises=_recognises,
        convert=partial(_convert, target="mmdet"),
        reverse=partial(_reverse, target="mmdet"),
        ignores=("classifier.",),
    )
)
