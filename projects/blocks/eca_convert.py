"""ECA's weights from the authors and from timm, and back.

The authors' names in a ResNet are also ours. Kernel sizes are read from the weights and never from
the rule, which the authors' own networks do not follow; the converter's note gives ``plugins``.
timm calls the block ``se``, and its networks have stems of three convolutions. The authors'
MobileNetV2 becomes one of mmseg's or mmdet's with ``mmattn.WithPlugins``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from mmattn.errors import CheckpointError
from mmattn.io.convert import Converter, StateDict, register_converter, rename_keys
from mmattn.io.resnet_layout import mm_resnet_name, read_resnet, timm_resnet_name
from mmattn.io.torchvision_mobilenetv2 import (
    PLACES,
    mm_mobilenetv2_name,
    torchvision_mobilenetv2_name,
)

_IN_RESNET = re.compile(r"layer([1-4])\.(\d+)\.(eca|se)\.conv\.weight")
_IN_MOBILENET = re.compile(r"features\.(\d+)\.conv\.([34])\.conv\.weight")
_IN_PLUGINS = re.compile(r"plugins\.layer(\d)_(\d)_(conv|linear_conv)_eca\.conv\.weight")
# The last module before a MobileNetV2 block's addition.
_LAST = {"mmseg": "conv", "mmdet": "linear_conv"}


def kernel_size(weight: Tensor, key: str) -> int:
    """Return the kernel size k of an ECA block from its weight, (1, 1, k).

    Raises:
        CheckpointError: ``weight`` is not of an ECA block.
    """
    shape = tuple(weight.shape)
    if len(shape) != 3 or shape[:2] != (1, 1) or shape[2] % 2 == 0:
        raise CheckpointError(f"{key} has shape {shape}; ECA's is (1, 1, k) with an odd k")
    return shape[2]


def _kernels_per_stage(state_dict: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return the kernel sizes of the four stages; 0 for a stage without the block."""
    sizes = defaultdict(set)
    for key, weight in state_dict.items():
        if match := _IN_RESNET.fullmatch(key):
            sizes[int(match[1])].add(kernel_size(weight, key))
    for stage, kernels in sorted(sizes.items()):
        if len(kernels) > 1:
            raise CheckpointError(
                f"the blocks of layer{stage} have kernels of sizes {sorted(kernels)}, but a plugin "
                "is the same in all blocks of a stage"
            )
    return tuple(next(iter(sizes[stage]), 0) for stage in range(1, 5))


def plugins_text(kernels: Sequence[int], position: str) -> str:
    """Return the ``plugins`` of a ResNet with these kernel sizes of its stages, as in a config.

    A stage of size 0 has no plugin.
    """
    entries = []
    for size in dict.fromkeys(filter(None, kernels)):
        stages = tuple(kernel == size for kernel in kernels)
        entries.append(
            f"dict(cfg=dict(type='mmattn.ECA', kernel_size={size}), stages={stages}, "
            f"position='{position}')"
        )
    return f"[{', '.join(entries)}]"


def _describe_resnet(state_dict: StateDict) -> str:
    network = read_resnet(state_dict)
    kernels = _kernels_per_stage(state_dict)
    return (
        f"Kernel sizes per stage: {', '.join(map(str, kernels))}. Matching network: "
        + network.config(plugins_text(kernels, network.after_last_conv))
    )


def _convert_resnet(state_dict: StateDict) -> StateDict:
    """Convert from the authors' names, or timm's, to ours."""
    network = read_resnet(state_dict)
    _kernels_per_stage(state_dict)

    def rename(key: str) -> str | None:
        if match := _IN_RESNET.fullmatch(key):
            return f"layer{match[1]}.{match[2]}.eca.conv.weight"
        return mm_resnet_name(key, deep_stem=network.deep_stem)

    return rename_keys(state_dict, rename)


def _to_resnet(state_dict: StateDict, block: str) -> StateDict:
    """Convert from our names to those of a project that calls the block ``block``."""
    _require_blocks(state_dict, _IN_RESNET)

    def rename(key: str) -> str | None:
        if match := _IN_RESNET.fullmatch(key):
            return f"layer{match[1]}.{match[2]}.{block}.conv.weight"
        return timm_resnet_name(key)

    return rename_keys(state_dict, rename)


# MobileNetV2


def _mobilenet_number(match: re.Match) -> int | None:
    """Return the number of an official block, None if the key is of another module."""
    number, index = int(match[1]), int(match[2])
    return number if 1 <= number <= len(PLACES) and index == 3 + (number > 1) else None


def _convert_mobilenet(state_dict: StateDict, target: str) -> StateDict:
    def rename(key: str) -> str | None:
        match = _IN_MOBILENET.fullmatch(key)
        if match is None:
            return mm_mobilenetv2_name(key, target)
        number = _mobilenet_number(match)
        place = number and PLACES[number - 1].replace(".", "_")
        return place and f"plugins.{place}_{_LAST[target]}_eca.conv.weight"

    return rename_keys(state_dict, rename)


def _to_mobilenet(state_dict: StateDict, target: str) -> StateDict:
    _require_blocks(state_dict, _IN_PLUGINS)

    def rename(key: str) -> str | None:
        match = _IN_PLUGINS.fullmatch(key)
        if match is None:
            return torchvision_mobilenetv2_name(key, target)
        number = PLACES.index(f"layer{match[1]}.{match[2]}") + 1
        return f"features.{number}.conv.{3 + (number > 1)}.conv.weight"

    return rename_keys(state_dict, rename)


def _describe_mobilenet(state_dict: StateDict, target: str) -> str:
    patterns = defaultdict(dict)  # kernel size -> patterns, without repetition
    for key, weight in state_dict.items():
        match = _IN_MOBILENET.fullmatch(key)
        number = match and _mobilenet_number(match)
        if number:
            layer = PLACES[number - 1].partition(".")[0]
            patterns[kernel_size(weight, key)][f"{layer}.*.{_LAST[target]}"] = None
    plugins = ", ".join(
        f"dict(cfg=dict(type='mmattn.ECA', kernel_size={size}), at={sorted(at)})"
        for size, at in sorted(patterns.items())
    )
    return (
        "Matching network: dict(type='mmattn.WithPlugins', "
        f"inner=dict(type='{target}.MobileNetV2'), plugins=[{plugins}])"
    )


def _require_blocks(state_dict: StateDict, pattern: re.Pattern) -> None:
    if not any(pattern.fullmatch(key) for key in state_dict):
        raise CheckpointError(
            f"no ECA found ({pattern.pattern}); the keys begin with "
            f"{', '.join(list(state_dict)[:3])}"
        )


def _has(block: str, state_dict: Mapping[str, Tensor]) -> bool:
    return f"layer1.0.{block}.conv.weight" in state_dict and "layer1.0.conv1.weight" in state_dict


register_converter(
    Converter(
        name="eca-official",
        description="BangguWu/ECANet ResNet -> mmdet or mmseg ResNet with mmattn.ECA plugins",
        recognises=partial(_has, "eca"),
        convert=_convert_resnet,
        ignores=("fc.",),
        reverse=partial(_to_resnet, block="eca"),
        note=_describe_resnet,
    )
)
register_converter(
    Converter(
        name="eca-timm-ecaresnet",
        description="timm ecaresnet50d, 101d -> mmdet or mmseg ResNetV1d with mmattn.ECA plugins",
        recognises=partial(_has, "se"),
        convert=_convert_resnet,
        ignores=("fc.",),
        reverse=partial(_to_resnet, block="se"),
        note=_describe_resnet,
    )
)
for _target, _unused in (("mmseg", ("features.18.", "classifier.")), ("mmdet", ("classifier.",))):
    register_converter(
        Converter(
            name=f"eca-official-mobilenetv2-{_target}",
            description=f"BangguWu/ECANet MobileNetV2 -> {_target} MobileNetV2 with mmattn.ECA",
            recognises=lambda state_dict: "features.17.conv.4.conv.weight" in state_dict,
            convert=partial(_convert_mobilenet, target=_target),
            ignores=_unused,
            reverse=partial(_to_mobilenet, target=_target),
            note=partial(_describe_mobilenet, target=_target),
        )
    )
