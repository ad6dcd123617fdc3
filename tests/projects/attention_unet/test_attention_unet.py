"""Promise: mmseg's U-Net with gates on its skip connections trains, and is U-Net without them."""

from __future__ import annotations

import pytest
import torch
from mmseg.models.backbones import UNet
from torch import nn

from mmattn.projects.attention_unet import GatedUNet
from mmattn.projects.blocks.attention_gate import AttentionGate
from mmattn.registry import MODELS
from tests.support.config_tester import ConfigTester

SMALL = {
    "base_channels": 4,
    "num_stages": 4,
    "strides": (1, 1, 1, 1),
    "enc_num_convs": (1, 1, 1, 1),
    "dec_num_convs": (1, 1, 1),
    "downsamples": (True, True, True),
    "enc_dilations": (1, 1, 1, 1),
    "dec_dilations": (1, 1, 1),
}

INTERP = {"type": "mmseg.InterpConv"}


def test_all_levels_but_the_finest_are_gated() -> None:
    net = MODELS.build({"type": "mmattn.GatedUNet", **SMALL})
    net.init_weights()
    assert list(net.gates) == ["1", "2"]
    widths = [(g.theta.in_channels, g.theta.out_channels, g.phi.in_channels) for g in gates(net)]
    assert widths == [(8, 8, 16), (16, 16, 32)]
    net.train()
    outputs = net(torch.randn(2, 3, 16, 24))
    assert [tuple(y.shape[1:]) for y in outputs] == [
        (32, 2, 3),
        (16, 4, 6),
        (8, 8, 12),
        (4, 16, 24),
    ]
    sum(y.square().mean() for y in outputs).backward()
    assert all(p.grad is not None and p.grad.any() for p in net.gates.parameters() if p.dim() > 1)
    assert net.gating.conv.weight.grad.any()
    for gate in gates(net):  # mmengine's initialisation of the network is undone in the gates
        assert gate.W[1].weight.std() > 0


def test_open_gates_leave_mmsegs_unet() -> None:
    torch.manual_seed(0)
    net, plain = GatedUNet(gated=(0, 2), **SMALL), UNet(**SMALL, upsample_cfg=INTERP)
    net.eval(), plain.eval()  # which return None
    loaded = net.load_state_dict(plain.state_dict(), strict=False)
    assert not loaded.unexpected_keys
    assert {key.partition(".")[0] for key in loaded.missing_keys} == {"gates", "gating"}
    x = torch.randn(1, 3, 8, 8)
    assert not torch.allclose(net(x)[-1], plain(x)[-1])
    for level in net.gates.values():
        level.gate = _Open()
        level.combine = nn.Identity()
    for ours, theirs in zip(net(x), plain(x), strict=True):
        assert torch.equal(ours, theirs)


def test_the_coarsest_gate_sees_the_bottleneck_and_others_the_decoder() -> None:
    net = GatedUNet(**SMALL)
    net.eval()
    seen = {}
    for name, level in net.gates.items():
        level.gate.register_forward_hook(lambda _, args, __, name=name: seen.update({name: args}))
    bottleneck, coarse, *_ = net(torch.randn(1, 3, 16, 16))
    assert torch.equal(seen["2"][1], net.gating(bottleneck))
    assert torch.equal(seen["1"][1], coarse)


def test_levels_that_the_decoder_lacks_are_named() -> None:
    with pytest.raises(ValueError, match=r"levels \[3, 5\]; the decoder has \[0, 1, 2\]"):
        GatedUNet(gated=(1, 5, 3), **SMALL)
    assert GatedUNet(gated=(0,), **SMALL).gating is None


def test_norms_that_are_left_out_are_left_out_behind_the_gates_too() -> None:
    for norm_cfg, expected in ((None, False), ({"type": "BN"}, True)):
        net = GatedUNet(norm_cfg=norm_cfg, **SMALL)
        convs = [net.gating, *(level.combine for level in net.gates.values())]
        assert [conv.with_norm for conv in convs] == [expected] * 3


def gates(net: nn.Module) -> list[AttentionGate]:
    return [module for module in net.modules() if isinstance(module, AttentionGate)]


class _Open(nn.Module):
    def forward(self, x, g):
        return x


class TestConfigs(ConfigTester):
    folder = "configs/attention_unet"
    paper = "arXiv:1804.03999"
    block = AttentionGate
    expected = {"gated-unet-s4_1xb8-600_shapes-96x128": ("semantic", 2)}
    quick = "gated-unet-s4_1xb8-600_shapes-96x128"
