"""Promise: weights of the authors' rewrite load, and convert back."""

from __future__ import annotations

import torch

import mmattn.projects._register  # noqa: F401  (registers the converters)
from mmattn.io.convert import convert_checkpoint
from mmattn.projects.blocks.bilevel_routing_attention import BiLevelRoutingAttention

NAME = "bilevel-routing-attention-nchw"


def test_convolutions_of_1x1_become_linear_layers_and_back() -> None:
    torch.manual_seed(0)
    theirs = {
        "qkv_linear.weight": torch.randn(24, 8, 1, 1),
        "qkv_linear.bias": torch.randn(24),
        "output_linear.weight": torch.randn(8, 8, 1, 1),
        "output_linear.bias": torch.randn(8),
        "lepe.weight": torch.randn(8, 1, 5, 5),
        "lepe.bias": torch.randn(8),
    }
    network = {f"stages.0.1.attn.{name}": value for name, value in theirs.items()}
    network["stages.0.1.norm1.weight"] = torch.ones(8)
    conversion = convert_checkpoint({"model": network})
    assert conversion is not None
    assert conversion.converter == NAME
    assert conversion.note == "1 blocks converted; 1 other keys keep their names."
    block = BiLevelRoutingAttention(8, num_heads=2, n_win=2)
    prefix = "stages.0.1.attn."
    ours = conversion.state_dict
    block.load_state_dict({
        key.removeprefix(prefix): value for key, value in ours.items() if key.startswith(prefix)
    }, strict=True)  # fmt: skip
    x = torch.randn(1, 8, 2, 3)
    expected = torch.nn.functional.conv2d(x, theirs["qkv_linear.weight"], theirs["qkv_linear.bias"])
    got = block.qkv.qkv(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(got, expected)
    assert torch.equal(block.wo.weight, theirs["output_linear.weight"][:, :, 0, 0])
    back = convert_checkpoint(ours, NAME, reverse=True)
    assert back is not None
    assert back.state_dict.keys() == network.keys()
    assert all(torch.equal(back.state_dict[key], network[key]) for key in network)
