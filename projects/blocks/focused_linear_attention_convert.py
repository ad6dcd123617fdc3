"""Focused linear attention's weights in the authors' PVT, and back.

Their Swin and this block have the same names. Their PVT has one layer for q and one for k and v.
The names are as recalled: no file of theirs was seen.

    here                   there
    qkv                    q, kv
    all others             the same
"""

from __future__ import annotations

from math import isqrt

from mmattn.errors import CheckpointError
from mmattn.io.block_weights import (
    block_converter,
    join_queries,
    renamed_entries,
    split_queries,
)
from mmattn.io.convert import StateDict, register_converter

_ENTRIES = {
    "scale",
    "positional_encoding",
    *(f"{layer}.{part}" for layer in ("qkv", "proj", "dwc") for part in ("weight", "bias")),
}


def _join(entries: StateDict) -> StateDict:
    joined = renamed_entries(join_queries(entries), {name: name for name in _ENTRIES})
    if "positional_encoding" in joined:
        _side(joined["positional_encoding"].shape[1])
    return joined


def _side(positions: int) -> int:
    """Return the side of the square map that a table of positions is for."""
    side = isqrt(positions)
    if side * side != positions:
        raise CheckpointError(
            f"positional_encoding has {positions} positions, which are no square map; its size is "
            "not in the file. Build the block with position_size=(height, width) and load its "
            "entries by themselves"
        )
    return side


def _describe(entries: StateDict) -> str:
    arguments = [f"num_heads={entries['proj.weight'].shape[0] // entries['dwc.weight'].shape[0]}"]
    if "positional_encoding" in entries:
        side = _side(entries["positional_encoding"].shape[1])
        arguments.append(f"position_size=({side}, {side})")
    if "q.bias" not in entries:
        arguments.append("qkv_bias=False")
    return f"dict(type='mmattn.FocusedLinearAttention', {', '.join(arguments)})"


register_converter(
    block_converter(
        name="focused-linear-attention-pvt",
        description="blocks of LeapLabTHU/FLatten-Transformer's PVT -> "
        "mmattn.FocusedLinearAttention (names unverified); their Swin's need no conversion",
        marks=("scale", "q.weight", "kv.weight", "dwc.weight"),
        convert=_join,
        reverse_marks=("scale", "qkv.weight", "dwc.weight"),
        reverse=split_queries,
        describe=_describe,
    )
)
