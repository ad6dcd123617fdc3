"""Promise: weights of the authors' PVT load, wherever in a network the blocks are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import mmattn.projects._register  # noqa: F401  (registers the converters)
from mmattn.errors import CheckpointError
from mmattn.io.convert import convert_checkpoint
from mmattn.projects.blocks.agent_attention import AgentAttention

NAME = "agent-attention-pvt"


def pvt_block(channels: int = 8, heads: int = 2, *, bias: bool = True) -> dict[str, Tensor]:
    """A block of their PVT: 2 x 2 agents on 4 x 6 positions."""
    shapes = {
        "an_bias": (heads, 4, 7, 7),
        "na_bias": (heads, 4, 7, 7),
        "ah_bias": (1, heads, 4, 4, 1),
        "aw_bias": (1, heads, 4, 1, 6),
        "ha_bias": (1, heads, 4, 1, 4),
        "wa_bias": (1, heads, 1, 6, 4),
        "q.weight": (channels, channels),
        "kv.weight": (2 * channels, channels),
        "proj.weight": (channels, channels),
        "proj.bias": (channels,),
        "dwc.weight": (channels, 1, 3, 3),
        "dwc.bias": (channels,),
        **({"q.bias": (channels,), "kv.bias": (2 * channels,)} if bias else {}),
    }
    torch.manual_seed(0)
    return {name: torch.randn(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("bias", [False, True])
def test_blocks_of_a_network_convert_and_load(bias: bool) -> None:
    entries = pvt_block(bias=bias)
    network = {f"block1.{i}.attn.{name}": value for i in (0, 1) for name, value in entries.items()}
    network["patch_embed1.proj.weight"] = torch.ones(8, 3, 4, 4)
    conversion = convert_checkpoint({"model": network}, NAME)
    assert conversion is not None
    assert conversion.note == (
        "2 blocks converted; 1 other keys keep their names. Matching blocks: "
        "dict(type='mmattn.AgentAttention', num_heads=2, stored_agents=(2, 2), bias_size=(4, 6)"
        + (")" if bias else ", qkv_bias=False)")
    )
    ours = conversion.state_dict
    assert "patch_embed1.proj.weight" in ours
    prefix = "block1.1.attn."
    block = AgentAttention(
        8, num_heads=2, agents=(2, 2), bias_size=(4, 6), qkv_bias=bias
    ).eval()  # fmt: skip
    block.load_state_dict(
        {key.removeprefix(prefix): v for key, v in ours.items() if key.startswith(prefix)},
        strict=True,
    )
    x = torch.randn(1, 5, 8)
    q = F.linear(x, entries["q.weight"], entries.get("q.bias"))
    kv = F.linear(x, entries["kv.weight"], entries.get("kv.bias"))
    torch.testing.assert_close(block.qkv(x), torch.cat([q, kv], 2))
    back = convert_checkpoint(ours, NAME, reverse=True)
    assert back is not None
    assert back.state_dict.keys() == network.keys()
    assert all(torch.equal(back.state_dict[key], network[key]) for key in network)


def test_a_block_by_itself_is_recognised() -> None:
    conversion = convert_checkpoint(pvt_block())
    assert conversion is not None
    assert conversion.converter == NAME
    assert set(conversion.state_dict) == set(AgentAttention(8).state_dict())


def test_an_unknown_entry_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"not of this layout: sr\.weight; it has"):
        convert_checkpoint({**pvt_block(), "sr.weight": torch.ones(1)}, NAME)


def test_the_way_back_needs_a_block() -> None:
    with pytest.raises(CheckpointError, match=r"an_bias, qkv\.weight found; the keys begin with a"):
        convert_checkpoint({"a": torch.ones(1)}, NAME, reverse=True)
