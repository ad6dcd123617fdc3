"""The authors' CCNet checkpoints for ``CeilPoolResNetV1c``, ``CCHead`` and ``DeepSupervisionHead``.

Their norm layers scale by |weight| + 1e-5 instead of by weight, so conversion changes the weights
of norms, and only these. The result is for the network of
``configs/ccnet/ccnet_r101-d8-authors_4xb2-60k_cityscapes-769x769.py``.
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


def _rename_in_backbone(key: str) -> str | None:
    new = _rename(key)
    return new.removeprefix("backbone.") if new and new.startswith("backbone.") else None


def _is_network(state_dict: Mapping[str, Tensor]) -> bool:
    return "head.conva.0.weight" in state_dict and "head.cca.query_conv.weight" in state_dict


def _is_backbone(state_dict: Mapping[str, Tensor]) -> bool:
    """Return whether this is a ResNet classifier whose stem has three convolutions."""
    return {"conv3.weight", "layer4.2.bn3.weight", "fc.weight"} <= state_dict.keys()


def _with_positive_scales(state_dict: StateDict) -> StateDict:
    return {
        key: value.abs() + _ABN_EPS if _NORM_WEIGHT.search(key) else value
        for key, value in state_dict.items()
    }


def _convert(state_dict: StateDict) -> StateDict:
    return rename_keys(_with_positive_scales(state_dict), _rename)


def _convert_backbone(state_dict: StateDict) -> StateDict:
    return rename_keys(_with_positive_scales(state_dict), _rename_in_backbone)


register_converter(
    Converter(
        name="ccnet-official",
        description="speedinghzl/CCNet -> mmattn CCNet (ccnet_r101-d8-authors configs)",
        recognises=_is_network,
        convert=_convert,
    )
)
register_converter(
    Converter(
        name="ccnet-official-backbone",
        description="the ImageNet ResNet that speedinghzl/CCNet starts from -> CeilPoolResNetV1c",
        recognises=_is_backbone,
        convert=_convert_backbone,
        ignores=("fc.",),
    )
)
