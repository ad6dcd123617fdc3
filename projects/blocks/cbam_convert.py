"""CBAM's weights from the authors, timm and mmyolo, and back.

The authors' names are also ours, in a ResNet too. timm and mmyolo pass the mean before the maximum
to the spatial convolution, so conversion exchanges its two input channels: converted weights are
always in the authors' order, for ``CBAM(mean_first=False)``.

    here                       timm                    mmyolo
    ChannelGate.mlp.1          channel.fc1             channel_attention.fc.0.conv
    ChannelGate.mlp.3          channel.fc2             channel_attention.fc.1.conv
    SpatialGate.spatial.conv   spatial.conv.conv       spatial_attention.conv.conv
    SpatialGate.spatial.bn     spatial.conv.bn         (folded into the convolution)
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mmattn.errors import CheckpointError
from mmattn.io.convert import Converter, StateDict, register_converter, rename_keys
from mmattn.io.resnet_layout import mm_resnet_name, read_resnet, timm_resnet_name

_CONV, _BN = "SpatialGate.spatial.conv", "SpatialGate.spatial.bn"
_BN_EPS = 1e-5
_TIMM = {
    "channel.fc1": "ChannelGate.mlp.1",
    "channel.fc2": "ChannelGate.mlp.3",
    "spatial.conv.conv": _CONV,
    "spatial.conv.bn": _BN,
}
_MMYOLO = {
    "channel_attention.fc.0.conv": "ChannelGate.mlp.1",
    "channel_attention.fc.1.conv": "ChannelGate.mlp.3",
    "spatial_attention.conv.conv": _CONV,
}
_OFFICIAL = {part: part for part in _TIMM.values()}


def _split(key: str, parts: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Split ``key`` into prefix, part of the block, and entry; None if it is not a block's key."""
    before, _, entry = key.rpartition(".")
    for part in parts:
        if before == part or before.endswith(f".{part}"):
            return before.removesuffix(part), part, entry
    return None


def _has(state_dict: Mapping[str, Tensor], parts: Mapping[str, str]) -> bool:
    present = {split[1] for key in state_dict if (split := _split(key, parts))}
    return {part for part, ours in parts.items() if ours != _BN} <= present


def _change_names(
    state_dict: StateDict, parts: Mapping[str, str], blocks: tuple[str, str] = ("", "")
) -> StateDict:
    """Rename the parts of every block, and blocks called ``blocks[0]`` to ``blocks[1]``."""

    def rename(key: str) -> str:
        split = _split(key, parts)
        if split is None:
            return key
        before, part, entry = split
        if blocks[0] and before.endswith(f"{blocks[0]}."):
            before = f"{before.removesuffix(f'{blocks[0]}.')}{blocks[1]}."
        return f"{before}{parts[part]}.{entry}"

    return rename_keys(state_dict, rename)


def _with_other_order(state_dict: StateDict, conv: str) -> StateDict:
    """Exchange the two input channels of the spatial convolution."""
    return {
        key: value.flip(1) if key.endswith(f"{conv}.weight") else value
        for key, value in state_dict.items()
    }


def _reshaped(state_dict: StateDict, linears: tuple[str, ...], *, to_conv: bool) -> StateDict:
    """Return the MLP's weights as 1 x 1 convolutions, or as matrices."""
    ends = tuple(f"{name}.weight" for name in linears)
    return {
        key: (value[:, :, None, None] if to_conv else value.flatten(1))
        if key.endswith(ends)
        else value
        for key, value in state_dict.items()
    }


def _reversed(parts: Mapping[str, str]) -> dict[str, str]:
    return {ours: theirs for theirs, ours in parts.items()}


def _require_blocks(state_dict: StateDict) -> None:
    if not any(_split(key, _OFFICIAL) for key in state_dict):
        raise CheckpointError(
            "no CBAM found (…ChannelGate.mlp.1.weight, …); the keys begin with "
            f"{', '.join(list(state_dict)[:3])}"
        )


# The authors' ResNets


def _is_official(state_dict: Mapping[str, Tensor]) -> bool:
    return "layer1.0.cbam.ChannelGate.mlp.1.weight" in state_dict and "conv1.weight" in state_dict


def _official_name(key: str) -> str | None:
    split = _split(key, _OFFICIAL)
    if split and re.fullmatch(r"layer[1-4]\.\d+\.cbam\.", split[0]):
        return key
    return mm_resnet_name(key)


def _convert_official(state_dict: StateDict) -> StateDict:
    return rename_keys(state_dict, _official_name)


def _describe_official(state_dict: StateDict) -> str:
    network = read_resnet(state_dict)
    arguments = ["type='mmattn.CBAM'"]
    weight = state_dict["layer1.0.cbam.ChannelGate.mlp.1.weight"]
    if weight.shape[1] // 16 != len(weight):
        arguments.append(f"reduction={weight.shape[1] // len(weight)}")
    if not any("SpatialGate" in key for key in state_dict):
        arguments.append("spatial_gate=False")
    plugins = f"[dict(cfg=dict({', '.join(arguments)}), position='{network.after_last_conv}')]"
    return f"Matching network: {network.config(plugins)}"


# timm


def _convert_timm(state_dict: StateDict) -> StateDict:
    deep_stem = "conv1.0.weight" in state_dict
    state_dict = rename_keys(
        state_dict, lambda key: mm_resnet_name(key, deep_stem=deep_stem) or key
    )
    state_dict = _reshaped(state_dict, ("channel.fc1", "channel.fc2"), to_conv=False)
    return _change_names(_with_other_order(state_dict, "spatial.conv.conv"), _TIMM, ("se", "cbam"))


def _to_timm(state_dict: StateDict) -> StateDict:
    _require_blocks(state_dict)
    state_dict = _reshaped(state_dict, ("ChannelGate.mlp.1", "ChannelGate.mlp.3"), to_conv=True)
    state_dict = rename_keys(state_dict, lambda key: timm_resnet_name(key) or key)
    return _change_names(_with_other_order(state_dict, _CONV), _reversed(_TIMM), ("cbam", "se"))


def _describe_timm(state_dict: StateDict) -> str:
    bias = any(key.endswith("channel.fc1.bias") for key in state_dict)
    arguments = "" if bias else ", mlp_bias=False"
    return f"Matching block: dict(type='mmattn.CBAM'{arguments}), without mean_first."


# mmyolo


def _convert_mmyolo(state_dict: StateDict) -> StateDict:
    linears = ("channel_attention.fc.0.conv", "channel_attention.fc.1.conv")
    state_dict = _reshaped(state_dict, linears, to_conv=False)
    return _change_names(_with_other_order(state_dict, "spatial_attention.conv.conv"), _MMYOLO)


def _to_mmyolo(state_dict: StateDict) -> StateDict:
    _require_blocks(state_dict)
    state_dict = _with_biases(_with_folded_norms(state_dict))
    state_dict = _reshaped(state_dict, ("ChannelGate.mlp.1", "ChannelGate.mlp.3"), to_conv=True)
    return _change_names(_with_other_order(state_dict, _CONV), _reversed(_MMYOLO))


def _with_folded_norms(state_dict: StateDict) -> StateDict:
    """Fold convolution and norm into one convolution with a bias: the same in evaluation only."""
    folded = {
        key: value
        for key, value in state_dict.items()
        if not (split := _split(key, _OFFICIAL)) or split[1] != _BN
    }
    for key in state_dict:
        split = _split(key, {_BN: _BN})
        if split and split[2] == "weight":
            before = split[0]
            conv, bn = f"{before}{_CONV}", f"{before}{_BN}"
            scale = state_dict[key] * (state_dict[f"{bn}.running_var"] + _BN_EPS).rsqrt()
            bias = state_dict.get(f"{conv}.bias", torch.zeros_like(scale))
            folded[f"{conv}.weight"] = state_dict[f"{conv}.weight"] * scale[:, None, None, None]
            shift = bias - state_dict[f"{bn}.running_mean"]
            folded[f"{conv}.bias"] = shift * scale + state_dict[f"{bn}.bias"]
    return folded


def _with_biases(state_dict: StateDict) -> StateDict:
    """Add zero biases to an MLP without biases: mmyolo's always has them."""
    added = dict(state_dict)
    for key, value in state_dict.items():
        split = _split(key, _OFFICIAL)
        if split and split[1] in ("ChannelGate.mlp.1", "ChannelGate.mlp.3"):
            added.setdefault(f"{split[0]}{split[1]}.bias", value.new_zeros(len(value)))
    return added


def _describe_mmyolo(state_dict: StateDict) -> str:
    return (
        "Matching block: dict(type='mmattn.CBAM', spatial_bias=True, spatial_norm=False), "
        "without mean_first."
    )


register_converter(
    Converter(
        name="cbam-official",
        description="Jongchan/attention-module ResNet with CBAM -> mmdet or mmseg ResNet with "
        "mmattn.CBAM plugins",
        recognises=_is_official,
        convert=_convert_official,
        ignores=("fc.",),
        reverse=_convert_official,
        note=_describe_official,
    )
)
register_converter(
    Converter(
        name="cbam-timm",
        description="timm's CbamModule, in a ResNet or another network -> mmattn.CBAM",
        recognises=lambda state_dict: _has(state_dict, _TIMM),
        convert=_convert_timm,
        ignores=("fc.",),
        reverse=_to_timm,
        note=_describe_timm,
    )
)
register_converter(
    Converter(
        name="cbam-mmyolo",
        description="mmyolo's CBAM, in any network -> mmattn.CBAM; back it folds the norm",
        recognises=lambda state_dict: _has(state_dict, _MMYOLO),
        convert=_convert_mmyolo,
        reverse=_to_mmyolo,
        note=_describe_mmyolo,
    )
)
