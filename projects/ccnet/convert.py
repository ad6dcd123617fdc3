"""The authors' CCNet checkpoints for ``CeilPoolResNetV1c``, ``CCHead`` and ``DeepSupervisionHead``.

Their norm layers scale by |weight| + 1e-5 instead of by weight, so conversion changes the weights
of norms, and only these. The result is for the network of
``configs/ccnet/ccnet_r101-d8-authors_4xb2-60k_cityscapes-769x769.py``.

Back, a scale below 1e-5, which their norm cannot have, is put into the convolution in front of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from mmattn.io.convert import Converter, StateDict, register_converter, rename_keys

_ABN_EPS = 1e-5
_STEM = {"conv1": 0, "bn1": 1, "conv2": 3, "bn2": 4, "conv3": 6, "bn3": 7}
_HEADS = {
    "head.conva.0": "decode_head.convs.0.conv",
    "head.conva.1": "decode_head.convs.0.bn",
    "head.cca": "decode_head.cca",
    "head.convb.0": "decode_head.convs.1.conv",
    "head.convb.1": "decode_head.convs.1.bn",
    "head.bottleneck.0": "decode_head.conv_cat.conv",
    "head.bottleneck.1": "decode_head.conv_cat.bn",
    "head.bottleneck.3": "decode_head.conv_seg",
    "dsn.0": "auxiliary_head.convs.0.conv",
    "dsn.1": "auxiliary_head.convs.0.bn",
    "dsn.3": "auxiliary_head.conv_seg",
}
_NORM_WEIGHT = re.compile(
    r"(bn\d|downsample\.1|head\.conva\.1|head\.convb\.1|head\.bottleneck\.1|dsn\.1)\.weight$"
)


def _rename(key: str) -> str | None:
    if re.match(r"layer[1-4]\.\d+\.(conv|bn|downsample)", key):
        return f"backbone.{key}"
    first, _, rest = key.partition(".")
    if first in _STEM:
        return f"backbone.stem.{_STEM[first]}.{rest}"
    for theirs, ours in _HEADS.items():
        if key.startswith(f"{theirs}."):
            return ours + key.removeprefix(theirs)
    return None


_STEM_BACK = {str(number): name for name, number in _STEM.items()}
_HEADS_BACK = {ours: theirs for theirs, ours in _HEADS.items()}


def _rename_back(key: str) -> str | None:
    if match := re.fullmatch(r"backbone\.(layer[1-4]\.\d+\.(?:conv|bn|downsample).*)", key):
        return match[1]
    if match := re.fullmatch(r"backbone\.stem\.(\d)\.(\w+)", key):
        name = _STEM_BACK.get(match[1])
        return name and f"{name}.{match[2]}"
    for ours, theirs in _HEADS_BACK.items():
        if key.startswith(f"{ours}."):
            return theirs + key.removeprefix(ours)
    return None


def _rename_in_backbone(key: str) -> str | None:
    new = _rename(key)
    return new.removeprefix("backbone.") if new and new.startswith("backbone.") else None


def _is_network(state_dict: Mapping[str, Tensor]) -> bool:
    return "head.conva.0.weight" in state_dict and "head.cca.query_conv.weight" in state_dict


def _is_backbone(state_dict: Mapping[str, Tensor]) -> bool:
    """Return whether this is a ResNet, not CCNet, whose stem has three convolutions."""
    return {"conv3.weight", "layer4.2.bn3.weight"} <= state_dict.keys() and not _is_network(
        state_dict
    )


def _with_positive_scales(state_dict: StateDict) -> StateDict:
    return {
        key: value.abs() + _ABN_EPS if _NORM_WEIGHT.search(key) else value
        for key, value in state_dict.items()
    }


def _convert(state_dict: StateDict) -> StateDict:
    return rename_keys(_with_positive_scales(state_dict), _rename)


def _convert_backbone(state_dict: StateDict) -> StateDict:
    return rename_keys(_with_positive_scales(state_dict), _rename_in_backbone)


def _convert_back(state_dict: StateDict) -> StateDict:
    return _with_their_scales(rename_keys(_without_counters(state_dict), _rename_back))


def _convert_backbone_back(state_dict: StateDict) -> StateDict:
    counted = _without_counters(state_dict)
    return _with_their_scales(rename_keys(counted, lambda key: _rename_back(f"backbone.{key}")))


def _without_counters(state_dict: StateDict) -> StateDict:
    """Leave out what their norms do not have."""
    return {key: x for key, x in state_dict.items() if not key.endswith("num_batches_tracked")}


def _with_their_scales(state_dict: StateDict) -> StateDict:
    """Find weights w' of norms with |w'| + 1e-5 equal to ours, in their names.

    Where ours is less, convolution and running mean are multiplied by the ratio to the scale that
    the norm gets: the network computes the same in evaluation, with negative scales in training
    too.
    """
    changed = dict(state_dict)
    for key, weight in state_dict.items():
        if not _NORM_WEIGHT.search(key):
            continue
        scale = weight.double()
        reached = scale.abs().clamp_min(_ABN_EPS)
        changed[key] = (reached - _ABN_EPS).to(weight.dtype)
        ratio = scale / reached
        if (ratio == 1).all():
            continue
        norm = key.removesuffix(".weight")
        conv = _conv_before(norm)
        for name in (f"{conv}.weight", f"{conv}.bias", f"{norm}.running_mean"):
            if name in state_dict:
                value = state_dict[name]
                shape = (-1,) + (1,) * (value.dim() - 1)
                changed[name] = (value.double() * ratio.view(shape)).to(value.dtype)
    return changed


def _conv_before(norm: str) -> str:
    """Return the name of the convolution in front of a norm: bn2 -> conv2, x.1 -> x.0."""
    *parents, last = norm.split(".")
    name = last.replace("bn", "conv") if last.startswith("bn") else str(int(last) - 1)
    return ".".join([*parents, name])


register_converter(
    Converter(
        name="ccnet-official",
        description="speedinghzl/CCNet -> mmattn CCNet (ccnet_r101-d8-authors configs)",
        recognises=_is_network,
        convert=_convert,
        reverse=_convert_back,
    )
)
register_converter(
    Converter(
        name="ccnet-official-backbone",
        description="the ImageNet ResNet that speedinghzl/CCNet starts from -> CeilPoolResNetV1c",
        recognises=_is_backbone,
        convert=_convert_backbone,
        ignores=("fc.",),
        reverse=_convert_backbone_back,
    )
)
