"""The weights of scale-aware modulation in the authors' networks, whose names are ours.

``local_conv_1``, … there are one for each head, in any number; blocks with attention, which the
later stages have, have none of them and stay as they are.
"""

from __future__ import annotations

import re

from mmattn.io.block_weights import block_converter, renamed_entries
from mmattn.io.convert import StateDict, register_converter

_PARTS = ("weight", "bias")
_NAMES = {
    name: name
    for name in (
        *(f"{layer}.{part}" for layer in ("v", "s", "proj0", "proj1", "proj") for part in _PARTS),
        *(f"bn.{part}" for part in _PARTS),
        *(f"bn.{part}" for part in ("running_mean", "running_var", "num_batches_tracked")),
    )
}
_LOCAL = re.compile(r"local_conv_\d+\.(weight|bias)")
_MARKS = ("local_conv_1.weight", "proj0.weight", "proj1.weight", "v.weight", "s.weight")


def _checked(entries: StateDict) -> StateDict:
    local = {name: name for name in entries if _LOCAL.fullmatch(name)}
    return renamed_entries(entries, {**_NAMES, **local})


def _describe(entries: StateDict) -> str:
    wide, heads = entries["proj0.weight"].shape[:2]
    bias = "" if "v.bias" in entries else ", qkv_bias=False"
    return (
        f"dict(type='mmattn.ScaleAwareModulation', num_heads={heads}, "
        f"expand_ratio={wide // len(entries['proj1.weight'])}{bias})"
    )


register_converter(
    block_converter(
        name="scale-aware-modulation-official",
        description="blocks of AFeng-x/SMT's networks -> mmattn.ScaleAwareModulation (equal names: "
        "checks them, and prints the block's config)",
        marks=_MARKS,
        convert=_checked,
        reverse_marks=_MARKS,
        reverse=_checked,
        describe=_describe,
    )
)
