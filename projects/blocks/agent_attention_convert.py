"""Agent attention's weights in the authors' PVT, and back.

Their Swin and this block have the same names. Their PVT has one layer for q and one for k and v:

    here           there
    qkv            q, kv
    all others     the same
"""

from __future__ import annotations

from math import isqrt

from mmattn.io.block_weights import (
    block_converter,
    join_queries,
    renamed_entries,
    split_queries,
)
from mmattn.io.convert import StateDict, register_converter

_TABLES = ("an_bias", "na_bias", "ah_bias", "aw_bias", "ha_bias", "wa_bias")
_ENTRIES = {
    *_TABLES,
    *(f"{layer}.{part}" for layer in ("qkv", "proj", "dwc") for part in ("weight", "bias")),
}


def _join(entries: StateDict) -> StateDict:
    return renamed_entries(join_queries(entries), {name: name for name in _ENTRIES})


def _describe(entries: StateDict) -> str:
    heads, count = entries["an_bias"].shape[:2]
    side = isqrt(count)
    height, width = entries["ah_bias"].shape[3], entries["aw_bias"].shape[4]
    bias = "" if "q.bias" in entries else ", qkv_bias=False"
    return (
        f"dict(type='mmattn.AgentAttention', num_heads={heads}, stored_agents=({side}, {side}), "
        f"bias_size=({height}, {width}){bias})"
    )


register_converter(
    block_converter(
        name="agent-attention-pvt",
        description="blocks of LeapLabTHU/Agent-Attention's PVT -> mmattn.AgentAttention; their "
        "Swin's need no conversion",
        marks=("an_bias", "q.weight", "kv.weight"),
        convert=_join,
        reverse_marks=("an_bias", "qkv.weight"),
        reverse=split_queries,
        describe=_describe,
    )
)
