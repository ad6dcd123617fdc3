"""Triplet attention's weights in the networks that the authors train, and back.

Their stand-alone file has our names. The file that their networks import calls the gates otherwise:

    here           there
    cw.conv        ChannelGateH.spatial
    hc.conv        ChannelGateW.spatial
    hw.conv        SpatialGate.spatial      missing without the spatial gate

Their ResNet, made of torchvision's names, becomes one of mmdet's or mmseg's with the block as a
plugin; their MobileNetV2 becomes one of mmseg's or mmdet's in ``mmattn.WithPlugins``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from torch import Tensor

from mmattn.errors import CheckpointError
from mmattn.io.convert import Converter, StateDict, register_converter, rename_keys
from mmattn.io.resnet_layout import mm_resnet_name, read_resnet
from mmattn.io.torchvision_mobilenetv2 import (
    PLACES,
    mm_mobilenetv2_name,
    torchvision_mobilenetv2_name,
)

_GATES = {"ChannelGateH": "cw", "ChannelGateW": "hc", "SpatialGate": "hw"}
_GATES_BACK = {ours: theirs for theirs, ours in _GATES.items()}
_ENTRY = r"(conv\.weight|bn\.(?:weight|bias|running_mean|running_var|num_batches_tracked))"
_THEIRS = re.compile(rf"(.*?)(ChannelGateH|ChannelGateW|SpatialGate)\.spatial\.{_ENTRY}")
_OURS = re.compile(rf"(.*?)(cw|hc|hw)\.conv\.{_ENTRY}")
_IN_RESNET = re.compile(r"layer[1-4]\.\d+\.triplet_attention\.")
_IN_MOBILENET = re.compile(r"features\.(\d+)\.conv\.([34])\.")
_IN_PLUGINS = re.compile(r"plugins\.layer(\d)_(\d)_(?:conv|linear_conv)_triplet_attention\.")
# The last module before a MobileNetV2 block's addition.
_LAST = {"mmseg": "conv", "mmdet": "linear_conv"}
_MARK = "ChannelGateH.spatial.conv.weight"


def _arguments(state_dict: Mapping[str, Tensor]) -> str:
    """Return the block's arguments beside its type, as the text of a config."""
    kernels = {
        weight.shape[-1]
        for key, weight in state_dict.items()
        if key.endswith(_MARK.removeprefix("ChannelGateH."))
    }
    if len(kernels) > 1:
        raise CheckpointError(f"gates with kernels of sizes {sorted(kernels)}; a block has one")
    text = "".join(f", kernel_size={kernel}" for kernel in kernels if kernel != 7)
    spatial = any("SpatialGate.spatial." in key for key in state_dict)
    return text if spatial else f"{text}, spatial=False"


def _require_blocks(state_dict: StateDict) -> None:
    if not any(_OURS.fullmatch(key) for key in state_dict):
        raise CheckpointError(
            "no triplet attention found (…cw.conv.conv.weight, …); the keys begin with "
            f"{', '.join(list(state_dict)[:3])}"
        )


# ResNets, and blocks by themselves


def _is_resnet(state_dict: Mapping[str, Tensor]) -> bool:
    return f"layer1.0.triplet_attention.{_MARK}" in state_dict


def _is_block(state_dict: Mapping[str, Tensor]) -> bool:
    return all(_THEIRS.fullmatch(key) for key in state_dict) and any(
        key.endswith(_MARK) for key in state_dict
    )


def _recognises(state_dict: Mapping[str, Tensor]) -> bool:
    return _is_resnet(state_dict) or _is_block(state_dict)


def _convert(state_dict: StateDict) -> StateDict:
    alone = _is_block(state_dict)

    def rename(key: str) -> str | None:
        match = _THEIRS.fullmatch(key)
        if match is None:
            return mm_resnet_name(key)
        if alone or _IN_RESNET.fullmatch(match[1]):
            return f"{match[1]}{_GATES[match[2]]}.conv.{match[3]}"
        return None

    return rename_keys(state_dict, rename)


def _reverse(state_dict: StateDict) -> StateDict:
    _require_blocks(state_dict)

    def rename(key: str) -> str | None:
        match = _OURS.fullmatch(key)
        if match is None:
            return mm_resnet_name(key)
        return f"{match[1]}{_GATES_BACK[match[2]]}.spatial.{match[3]}"

    return rename_keys(state_dict, rename)


def _describe(state_dict: StateDict) -> str:
    block = f"dict(type='mmattn.TripletAttention'{_arguments(state_dict)})"
    if _is_block(state_dict):
        return f"Matching block: {block}"
    network = read_resnet(state_dict)
    plugins = f"[dict(cfg={block}, position='{network.after_last_conv}')]"
    return f"Matching network: {network.config(plugins)}"


# MobileNetV2


def _convert_mobilenet(state_dict: StateDict, target: str) -> StateDict:
    def rename(key: str) -> str | None:
        match = _THEIRS.fullmatch(key)
        if match is None:
            return mm_mobilenetv2_name(key, target)
        inside = _IN_MOBILENET.fullmatch(match[1])
        if inside is None:
            return None
        number, index = int(inside[1]), int(inside[2])
        if not (1 <= number <= len(PLACES) and index == 3 + (number > 1)):
            return None
        place = PLACES[number - 1].replace(".", "_")
        block = f"plugins.{place}_{_LAST[target]}_triplet_attention"
        return f"{block}.{_GATES[match[2]]}.conv.{match[3]}"

    return rename_keys(state_dict, rename)


def _to_mobilenet(state_dict: StateDict, target: str) -> StateDict:
    _require_blocks(state_dict)

    def rename(key: str) -> str | None:
        match = _OURS.fullmatch(key)
        inside = match and _IN_PLUGINS.fullmatch(match[1])
        if match is None or inside is None:
            return torchvision_mobilenetv2_name(key, target)
        number = PLACES.index(f"layer{inside[1]}.{inside[2]}") + 1
        block = f"features.{number}.conv.{3 + (number > 1)}"
        return f"{block}.{_GATES_BACK[match[2]]}.spatial.{match[3]}"

    return rename_keys(state_dict, rename)


def _describe_mobilenet(state_dict: StateDict, target: str) -> str:
    return (
        f"Matching network: dict(type='mmattn.WithPlugins', inner=dict(type='{target}.MobileNetV2')"
        f", plugins=[dict(cfg=dict(type='mmattn.TripletAttention'{_arguments(state_dict)}), "
        f"at=['layer*.*.{_LAST[target]}'])])"
    )


register_converter(
    Converter(
        name="triplet-attention-official",
        description="landskape-ai/triplet-attention ResNet, or blocks alone -> mmdet or mmseg "
        "ResNet with mmattn.TripletAttention plugins",
        recognises=_recognises,
        convert=_convert,
        ignores=("fc.",),
        reverse=_reverse,
        note=_describe,
    )
)
for _target, _unused in (("mmseg", ("features.18.", "classifier.")), ("mmdet", ("classifier.",))):
    register_converter(
        Converter(
            name=f"triplet-attention-official-mobilenetv2-{_target}",
            description=f"landskape-ai/triplet-attention MobileNetV2 -> {_target} MobileNetV2 with "
            "mmattn.TripletAttention",
            recognises=lambda state_dict: f"features.17.conv.4.{_MARK}" in state_dict,
            convert=partial(_convert_mobilenet, target=_target),
            ignores=_unused,
            reverse=partial(_to_mobilenet, target=_target),
            note=partial(_describe_mobilenet, target=_target),
        )
    )
