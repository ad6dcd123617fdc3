"""Promise: weights in the form of the authors' PVT load, and a table of no square map is named."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import mmattn.projects._register  # noqa: F401  (registers the converters)
from mmattn.errors import CheckpointError
from mmattn.io.convert import convert_checkpoint
from mmattn.projects.blocks.focused_linear_attention import FocusedLinearAttention

NAME = "focused-linear-attention-pvt"


def pvt_block(positions: int = 9) -> dict[str, Tensor]:
    shapes = {
        "positional_encoding": (1, positions, 8),
        "scale": (1, 1, 8),
        "q.weight": (8, 8),
        "kv.weight": (16, 8),
        "proj.weight": (8, 8),
        "proj.bias": (8,),
        "dwc.weight": (4, 1, 5, 5),
        "dwc.bias": (4,),
    }
    torch.manual_seed(0)
    return {f"block1.0.attn.{name}": torch.randn(shape) for name, shape in shapes.items()}


def test_a_block_converts_loads_and_comes_back() -> None:
    theirs = pvt_block()
    conversion = convert_checkpoint(theirs)
    assert conversion is not None
    assert conversion.converter == NAME
    assert conversion.note == (
        "1 blocks converted. Matching blocks: dict(type='mmattn.FocusedLinearAttention', "
        "num_heads=2, position_size=(3, 3), qkv_bias=False)"
    )
    block = FocusedLinearAttention(8, num_heads=2, position_size=(3, 3), qkv_bias=False)
    ours = {key.removeprefix("block1.0.attn."): v for key, v in conversion.state_dict.items()}
    block.load_state_dict(ours, strict=True)
    expected = torch.cat([theirs[f"block1.0.attn.{name}.weight"] for name in ("q", "kv")])
    assert torch.equal(block.qkv.weight, expected)
    back = convert_checkpoint(conversion.state_dict, NAME, reverse=True)
    assert back is not None
    assert back.state_dict.keys() == theirs.keys()
    assert all(torch.equal(back.state_dict[key], theirs[key]) for key in theirs)


def test_a_table_of_no_square_map_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"has 12 positions.*position_size=\(height, width\)"):
        convert_checkpoint(pvt_block(12), NAME)
