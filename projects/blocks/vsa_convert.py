"""VSA's weights in the authors' networks, and back.

The later of their two repositories has our names. The earlier one has two regressors, whose rows
are woven into one here; its names are known from memory alone, and unverified:

    here                                        there
    transform.2, rows 4 h + 0, 4 h + 1          sampling_offsets.2, rows 2 h + 0, 2 h + 1
    transform.2, rows 4 h + 2, 4 h + 3          sampling_scales.2, rows 2 h + 0, 2 h + 1
    all others                                  the same
"""

from __future__ import annotations

from math import isqrt

import torch

from mmattn.io.block_weights import block_converter, renamed_entries
from mmattn.io.convert import StateDict, register_converter

_PARTS = ("weight", "bias")
_SAME = {
    name: name
    for name in (
        *(f"{layer}.{part}" for layer in ("qkv", "proj") for part in _PARTS),
        "relative_position_bias_table",
        "relative_position_index",
        "rel_pos_h",
        "rel_pos_w",
    )
}
_OURS = {**_SAME, **{f"transform.2.{part}": f"transform.2.{part}" for part in _PARTS}}


def _woven(entries: StateDict) -> StateDict:
    entries = dict(entries)
    for part in _PARTS:
        pair = [entries.pop(f"sampling_{name}.2.{part}") for name in ("offsets", "scales")]
        by_head = [value.unflatten(0, (-1, 2)) for value in pair]
        entries[f"transform.2.{part}"] = torch.cat(by_head, 1).flatten(0, 1)
    return renamed_entries(entries, _OURS)


def _apart(entries: StateDict) -> StateDict:
    apart = {name: value for name, value in entries.items() if not name.startswith("transform.2.")}
    for part in _PARTS:
        by_head = entries[f"transform.2.{part}"].unflatten(0, (-1, 4))
        for name, value in zip(("offsets", "scales"), by_head.tensor_split(2, 1), strict=True):
            apart[f"sampling_{name}.2.{part}"] = value.flatten(0, 1)
    return apart


def _describe(entries: StateDict) -> str:
    regressor = entries.get("transform.2.weight")
    rows = len(entries["sampling_offsets.2.weight"]) * 2 if regressor is None else len(regressor)
    table = entries.get("relative_position_bias_table")
    distances = len(entries["rel_pos_h"]) if table is None else isqrt(len(table))
    kind = ", rel_pos='decomposed'" if table is None else ""
    bias = "" if "qkv.bias" in entries else ", qkv_bias=False"
    return (
        f"dict(type='mmattn.VariedSizeWindowAttention', num_heads={rows // 4}, "
        f"window_size={(distances + 1) // 2}{kind}{bias})"
    )


_OFFSETS = ("sampling_offsets.2.weight", "sampling_scales.2.weight", "qkv.weight")
_REGRESSOR = ("transform.2.weight", "transform.2.bias", "qkv.weight")

register_converter(
    block_converter(
        name="vsa-official",
        description="blocks of ViTAE-Transformer/ViTAE-VSA's networks, which have two regressors "
        "(unverified names) -> mmattn.VariedSizeWindowAttention",
        marks=_OFFSETS,
        convert=_woven,
        reverse_marks=_REGRESSOR,
        reverse=_apart,
        describe=_describe,
    )
)
register_converter(
    block_converter(
        name="vsa-qformer",
        description="blocks of ViTAE-Transformer/QFormer's VSA -> mmattn.VariedSizeWindowAttention "
        "(equal names: checks them, and prints the block's config)",
        marks=_REGRESSOR,
        convert=lambda entries: renamed_entries(entries, _OURS),
        reverse_marks=_REGRESSOR,
        reverse=lambda entries: renamed_entries(entries, _OURS),
        describe=_describe,
    )
)
