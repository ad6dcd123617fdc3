"""Bi-level routing attention's weights in the authors' rewrite of the operator, and back.

The names of their released networks are also ours; those of the rewrite, ``bra_nchw``, are others:

    here                  there
    qkv.qkv.weight        qkv_linear.weight         there a 1x1 convolution, (3 C, C, 1, 1)
    wo.weight             output_linear.weight      alike
    lepe                  lepe

On maps that the regions do not divide, the two compute different things.
"""

from __future__ import annotations

from mmattn.io.block_weights import block_converter, renamed_entries
from mmattn.io.convert import StateDict, register_converter

_LAYERS = {"qkv_linear": "qkv.qkv", "output_linear": "wo", "lepe": "lepe"}
_NAMES = {
    f"{theirs}.{part}": f"{ours}.{part}"
    for theirs, ours in _LAYERS.items()
    for part in ("weight", "bias")
}


def _convert(entries: StateDict) -> StateDict:
    renamed = renamed_entries(entries, _NAMES)
    return {
        name: value if name.startswith("lepe") or value.dim() == 1 else value.flatten(1)
        for name, value in renamed.items()
    }


def _reverse(entries: StateDict) -> StateDict:
    renamed = renamed_entries(entries, {ours: theirs for theirs, ours in _NAMES.items()})
    return {
        name: value if name.startswith("lepe") or value.dim() == 1 else value[:, :, None, None]
        for name, value in renamed.items()
    }


register_converter(
    block_converter(
        name="bilevel-routing-attention-nchw",
        description="blocks of rayleizhu/BiFormer's bra_nchw -> mmattn.BiLevelRoutingAttention; "
        "those of the released networks need no conversion",
        marks=("qkv_linear.weight", "output_linear.weight", "lepe.weight"),
        convert=_convert,
        reverse_marks=("qkv.qkv.weight", "wo.weight", "lepe.weight"),
        reverse=_reverse,
    )
)
