"""The weights of aggregated attention in the authors' networks, whose names are ours.

Blocks of their last stage have one layer ``qkv`` and are another module; they stay as they are.
"""

from __future__ import annotations

from math import isqrt

from mmattn.io.block_weights import block_converter, renamed_entries
from mmattn.io.convert import StateDict, register_converter

_LAYERS = ("q", "kv", "proj", "sr", "norm", "cpb_fc1", "cpb_fc2")
_NAMES = {
    name: name
    for name in (
        "temperature",
        "query_embedding",
        "relative_pos_bias_local",
        "learnable_tokens",
        "learnable_bias",
        *(f"{layer}.{part}" for layer in _LAYERS for part in ("weight", "bias")),
    )
}
_MARKS = ("learnable_tokens", "relative_pos_bias_local", "q.weight", "kv.weight", "sr.weight")


def _describe(entries: StateDict) -> str:
    heads, _, cells = entries["learnable_tokens"].shape
    bias = "" if "q.bias" in entries else ", qkv_bias=False"
    return (
        f"dict(type='mmattn.AggregatedAttention', num_heads={heads}, "
        f"window_size={isqrt(cells)}{bias})"
    )


register_converter(
    block_converter(
        name="aggregated-attention-official",
        description="blocks of DaiShiResearch/TransNeXt -> mmattn.AggregatedAttention (equal "
        "names: checks them, and prints the block's config but for sr_ratio and train_size)",
        marks=_MARKS,
        convert=lambda entries: renamed_entries(entries, _NAMES),
        reverse_marks=_MARKS,
        reverse=lambda entries: renamed_entries(entries, _NAMES),
        describe=_describe,
    )
)
