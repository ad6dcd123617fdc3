"""Promise: timm's attention modules work at every place by name, and compute what timm's do."""

from __future__ import annotations

import pytest
import torch
from timm.layers import create_attn
from torch import Tensor

from mmattn.errors import ConfigError
from mmattn.models.timm_attention import DIFFERENCES, TimmAttention, names
from mmattn.plugins.blocks import build_block
from mmattn.registry import MODELS
from mmattn.testing.plugin_hosts import (
    build_host,
    host_input,
    load_plain_host,
    outputs_of,
    plain_outputs,
)

SMALL = {"bottleneck": {"feat_size": (8, 8)}}


def sample(height: int, width: int) -> Tensor:
    return torch.randn(2, 16, height, width, generator=torch.Generator().manual_seed(height))


def test_all_names_of_timm_are_there() -> None:
    """timm lists them in the source alone: a branch for each."""
    import inspect
    import re
    import sys

    source = inspect.getsource(sys.modules["timm.layers.create_attn"].get_attn)
    assert names() == list(DIFFERENCES)
    assert set(re.findall(r"attn_type == '(\w+)'", source)) == set(DIFFERENCES)
    assert len(DIFFERENCES) == 21


@pytest.mark.parametrize("name", DIFFERENCES)
def test_it_computes_what_timms_module_does(name: str) -> None:
    if name == "ge":
        pytest.skip("timm cannot build it with its MLP; see the next test")
    torch.manual_seed(0)
    block = TimmAttention(16, name=name, **SMALL.get(name, {})).eval()
    torch.manual_seed(0)
    theirs = create_attn(name, 16, **SMALL.get(name, {})).eval()
    x = sample(8, 8) if name != "bat" else sample(7, 14)
    assert torch.equal(block(x), theirs(x))


def test_gather_excite_is_its_formula() -> None:
    """Scaled by sigmoid(MLP(mean)), as the paper's variant without parameters but the MLP."""
    torch.manual_seed(0)
    block, x = TimmAttention(16, name="ge").eval(), sample(5, 7)
    mlp = block.attn.mlp
    assert mlp.fc1.out_channels == 1
    gate = mlp.fc2(mlp.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
    torch.testing.assert_close(block(x), x * gate)
    assert isinstance(TimmAttention(16, name="ge", use_mlp=False).attn.mlp, torch.nn.Identity)


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (9, 16)])
@pytest.mark.parametrize("name", DIFFERENCES)
def test_it_keeps_the_shape_at_any_size_and_starts_as_the_identity(name: str, size) -> None:
    x = sample(*size)
    cfg = {"type": "mmattn.TimmAttention", "name": name, "init": "identity"}
    _, block = build_block(cfg, 16, place="here")
    block.eval()
    assert torch.equal(block(x), x)
    if hasattr(block, "residual_scale"):
        torch.nn.init.ones_(block.residual_scale)
    y = block(x)
    assert y.shape == x.shape and y.isfinite().all()
    y.square().sum().backward()
    grads = [p.grad is not None for p in block.parameters()]
    assert all(grads)


def test_padded_blocks_see_zeros_below_and_beside() -> None:
    torch.manual_seed(0)
    block = TimmAttention(16, name="halo").eval()
    x = sample(5, 11)
    padded = torch.zeros(2, 16, 8, 16)
    padded[:, :, :5, :11] = x
    assert torch.equal(block(x), block.attn(padded)[:, :, :5, :11])


def test_positions_are_interpolated_and_kept() -> None:
    torch.manual_seed(0)
    block = TimmAttention(16, name="bottleneck", feat_size=(4, 6)).eval()
    table = block.attn.pos_embed.height_rel.detach().clone()
    before = block(sample(4, 6))
    block(sample(9, 5))
    assert torch.equal(block(sample(4, 6)), before), "another size in between leaves no trace"
    assert torch.equal(block.attn.pos_embed.height_rel, table)
    # A table that is linear in the distance stays so: stretched, it has the same ends.
    rows = torch.linspace(-1, 1, 7)[:, None].expand(7, 4)
    block.attn.pos_embed.height_rel.data.copy_(rows)
    longer = TimmAttention(16, name="bottleneck", feat_size=(10, 6)).eval()
    state = block.state_dict()
    state["attn.pos_embed.height_rel"] = torch.linspace(-1, 1, 19)[:, None].expand(19, 4)
    longer.load_state_dict(state)
    torch.testing.assert_close(block(sample(10, 6)), longer(sample(10, 6)))


@pytest.mark.parametrize("host", ["mmdet_resnet18_slot", "mmdet_swin", "mmdet_fpn"])
def test_it_fits_into_networks(host: str) -> None:
    cfg = {"type": "mmattn.TimmAttention", "name": "sk", "init": "identity"}
    network = build_host(host, cfg, 16)
    blocks = [key for key, part in network.named_modules() if isinstance(part, TimmAttention)]
    assert len(blocks) >= 2
    load_plain_host(network, host, 16, blocks)
    network.eval()
    outputs = outputs_of(network, host_input(host, 16))
    for a, b in zip(outputs, plain_outputs(host, 16), strict=True):
        assert torch.equal(a, b)


def test_a_network_does_not_undo_its_initial_state() -> None:
    """The non-local block starts as the identity by a norm whose weight is zero."""
    network = MODELS.build(
        {
            "type": "mmdet.ResNet",
            "depth": 18,
            "base_channels": 8,
            "stem_channels": 8,
            "plugins": [
                {"cfg": {"type": "mmattn.TimmAttention", "name": "nl"}, "position": "after_conv2"}
            ],
        }
    )
    network.init_weights()
    assert not network.layer1[0].timm_attention.attn.norm.weight.any()


MISTAKES = [
    ({"name": "ska"}, "timm has no attention module 'ska'. Did you mean 'sk'"),
    ({"name": None}, "has no attention module None"),
    ({"name": "se", "rd_ration": 1}, "takes no argument 'rd_ration' here. Did you mean 'rd_ratio'"),
    ({"name": "nl", "anything": 1}, "'nl' takes no argument 'anything'"),
    ({"name": "sk", "stride": 2}, "takes no argument 'stride' here"),
    (
        {"name": "halo", "num_heads": 3},
        "'halo' cannot work with in_channels=16: it asks",
    ),
    ({}, "name"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_mistakes_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_block({"type": "mmattn.TimmAttention", **arguments}, 16, place="here")
