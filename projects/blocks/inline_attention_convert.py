"""InLine attention's weights in the authors' networks.

Our names are theirs, as far as they are known: no file of theirs has been read, so the names are
unverified. The sizes that they imply give the numbers of parameters that the authors print.
Row 9c + t of the last convolution is tap t of channel c, in both.
"""

from __future__ import annotations

from mmattn.errors import CheckpointError
from mmattn.io.block_weights import block_converter, renamed_entries
from mmattn.io.convert import StateDict, register_converter

_NAMES = {
    name: name
    for layer in ("qkv", "proj", "residual.0", "residual.2")
    for name in (f"{layer}.weight", f"{layer}.bias")
}
_MARKS = ("residual.0.weight", "residual.2.weight", "qkv.weight")


def _checked(entries: StateDict) -> StateDict:
    channels, rows = len(entries["residual.0.weight"]), len(entries["residual.2.weight"])
    if rows != 9 * channels:
        raise CheckpointError(
            f"residual.2.weight has {rows} rows; for {channels} channels there are "
            f"{9 * channels}, one for each tap of 3 x 3"
        )
    return renamed_entries(entries, _NAMES)


def _describe(entries: StateDict) -> str:
    channels, head_channels = entries["residual.0.weight"].shape[:2]
    bias = "" if "qkv.bias" in entries else ", qkv_bias=False"
    return f"dict(type='mmattn.InLineAttention', num_heads={channels // head_channels}{bias})"


register_converter(
    block_converter(
        name="inline-attention-official",
        description="blocks of LeapLabTHU/InLine's networks -> mmattn.InLineAttention (unverified "
        "names, equal to ours: checks them, and prints the block's config)",
        marks=_MARKS,
        convert=_checked,
        reverse_marks=_MARKS,
        reverse=_checked,
        describe=_describe,
    )
)
