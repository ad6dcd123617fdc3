"""torchvision's ResNet and ResNeXt classifiers for the backbones of mmdet and mmseg.

The names are the same, the classifier is left out; what has to be found out is the network:

    torchvision                      mmdet and mmseg
    resnet18, 34, 50, 101, 152       ResNet(depth=...)
    resnext50_32x4d, 101_32x8d, …    ResNeXt(depth=..., groups=..., base_width=...)
    wide_resnet50_2, 101_2           none, since their blocks have one width; but timm's network
                                     takes the file: TimmBackbone(model_name='wide_resnet50_2')
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from mmattn.errors import CheckpointError

from .convert import Converter, StateDict, register_converter, rename_keys
from .resnet_layout import mm_resnet_name, read_resnet, read_stem

_CLASSIFIER = "fc."
_DEPTHS: dict[tuple[int, ...], int] = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
# What mmdet and mmseg take a grouped network's width relative to.
_BASE_CHANNELS = 64


def torchvision_resnet_config(state_dict: Mapping[str, Tensor]) -> str:
    """Write the backbone that takes these weights, as the text of a config.

    Args:
        state_dict: Weights in torchvision's layout, with or without the classifier.

    Raises:
        CheckpointError: mmdet and mmseg have no such network.
    """
    groups, inner, planes = _first_bottleneck(state_dict)
    if groups == 1 and inner == planes:
        return read_resnet(state_dict).config(plugins="None").replace(", plugins=None", "")
    depth = _DEPTHS.get(_blocks(state_dict))
    if depth is None:
        raise CheckpointError(
            f"a ResNet of {', '.join(map(str, _blocks(state_dict)))} bottlenecks, which is none of "
            "those that mmdet and mmseg have (50, 101, 152)"
        )
    if groups == 1:
        times, rest = divmod(inner, planes)
        name = f"wide_resnet{depth}_{times}"
        raise CheckpointError(
            f"a ResNet whose blocks are {inner} wide inside instead of {planes}"
            + (f" ({name})" if not rest else "")
            + ": mmdet's and mmseg's have one width. timm's network takes this file as it is: "
            f"backbone=dict(type='mmattn.TimmBackbone', model_name={name!r}, pretrained=FILE)"
        )
    base_width = inner // groups * _BASE_CHANNELS // planes
    in_channels, stem_channels = read_stem(state_dict)
    arguments = [f"type='ResNeXt', depth={depth}, groups={groups}, base_width={base_width}"]
    if in_channels != 3:
        arguments.append(f"in_channels={in_channels}")
    if stem_channels != _BASE_CHANNELS:
        arguments.append(f"stem_channels={stem_channels}")
    return f"dict({', '.join(arguments)})"


def _first_bottleneck(state_dict: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Return groups, width inside, and the width that a plain network would have."""
    second = state_dict["layer1.0.conv2.weight"]
    inner = len(second)
    third = state_dict.get("layer1.0.conv3.weight")
    return inner // second.shape[1], inner, inner if third is None else len(third) // 4


def _blocks(state_dict: Mapping[str, Tensor]) -> tuple[int, ...]:
    matches = (re.fullmatch(r"layer(\d)\.(\d+)\.conv1\.weight", key) for key in state_dict)
    numbers = {match.groups() for match in matches if match}
    return tuple(sum(stage == str(i) for stage, _ in numbers) for i in range(1, 5))


def _recognises(state_dict: Mapping[str, Tensor]) -> bool:
    """Return whether this is torchvision's classifier and nothing has been put into it."""
    needed = {"conv1.weight", "layer1.0.conv2.weight", "layer4.0.conv2.weight", "fc.weight"}
    return needed <= state_dict.keys() and all(
        key.startswith(_CLASSIFIER) or mm_resnet_name(key) for key in state_dict
    )


def _convert(state_dict: StateDict) -> StateDict:
    torchvision_resnet_config(state_dict)  # refuses what has no counterpart
    return rename_keys(state_dict, mm_resnet_name)


def _reverse(state_dict: StateDict) -> StateDict:
    if any(key.startswith("stem.") for key in state_dict):
        raise CheckpointError(
            "a ResNetV1c or V1d, whose stem is three 3x3 convolutions; torchvision's ResNets have "
            "one of 7x7"
        )
    return rename_keys(state_dict, mm_resnet_name)


def _note(state_dict: StateDict) -> str:
    config = torchvision_resnet_config(state_dict)
    return (
        f"Takes it, in mmdet and mmseg: backbone={config}, not ResNetV1c or V1d, whose stem is "
        "three 3x3 convolutions instead of one of 7x7."
    )


register_converter(
    Converter(
        name="torchvision-resnet",
        description="torchvision resnet18..152, resnext* -> mmdet and mmseg ResNet, ResNeXt",
        recognises=_recognises,
        convert=_convert,
        ignores=(_CLASSIFIER,),
        reverse=_reverse,
        note=_note,
    )
)
