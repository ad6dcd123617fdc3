"""Promise: ``plugins=`` works in every ResNet of mmdet and mmseg, and nothing else changed."""

from __future__ import annotations

import pytest
import torch
from mmdet.models.backbones import resnet as mmdet_resnet
from mmengine.registry import MODELS
from mmseg.models.backbones import resnet as mmseg_resnet
from torch import Tensor, nn

from mmattn.errors import ConfigError

BOTH = {"mmdet": mmdet_resnet, "mmseg": mmseg_resnet}
both = pytest.mark.parametrize("library", list(BOTH))


class Scale(nn.Module):
    """A block whose effect is plain to see: times ``factor``, with a weight per channel."""

    def __init__(self, in_channels: int, *, factor: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.full((in_channels, 1, 1), float(factor)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def entry(position: str, factor: float = 1.0, stages=None, **cfg) -> dict:
    return {
        "cfg": {"type": Scale, "factor": factor, **cfg},
        "stages": stages,
        "position": position,
    }


def resnet(library: str, plugins=None, **kwargs) -> nn.Module:
    torch.manual_seed(0)
    small = {"depth": 18, "base_channels": 4, "stem_channels": 4, "norm_eval": False, **kwargs}
    network = BOTH[library].ResNet(plugins=plugins, **small)
    # Norms start at 1 and zero_init_residual is only applied by init_weights: blocks act.
    network.eval()
    return network


def block(library: str, name: str, plugins=None, **kwargs) -> nn.Module:
    torch.manual_seed(0)
    made = getattr(BOTH[library], name)(8, 8 if name == "BasicBlock" else 2, plugins=plugins)
    return made.eval()


@both
@pytest.mark.parametrize("depth", [18, 34, 50])
def test_blocks_take_plugins_by_name_under_bottlenecks_keys(library: str, depth: int) -> None:
    plugins = [
        {
            "cfg": {"type": "mmattn.CrissCrossAttention", "reduction": 2},
            "stages": (False, True, False, True),
            "position": position,
        }
        for position in ("after_conv2",)
    ]
    plain, plugged = resnet(library, depth=depth), resnet(library, plugins, depth=depth)
    added = set(plugged.state_dict()) - set(plain.state_dict())
    places = {key.split(".criss_cross_attention.")[0] for key in added}
    expected = {f"layer{s}.{i}" for s in (2, 4) for i in range(len(getattr(plain, f"layer{s}")))}
    assert places == expected
    assert plugged.layer2[0].criss_cross_attention.in_channels == 8
    assert plugged.layer4[1].criss_cross_attention.in_channels == 32
    plugged.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, 3, 64, 64)
    for a, b in zip(plugged(x), plain(x), strict=True):
        assert torch.equal(a, b), "fresh criss-cross attention is the identity"


@both
def test_a_basic_blocks_positions_are_where_they_say(library: str) -> None:
    plain = block(library, "BasicBlock")
    x = torch.randn(2, 8, 6, 6)
    for one in (plain.norm1, plain.norm2):
        one.bias.data.normal_()

    def by_hand(first: float, second: float) -> Tensor:
        middle = first * plain.relu(plain.norm1(plain.conv1(x)))
        return plain.relu(second * plain.norm2(plain.conv2(middle)) + x)

    for first, second in ((1, 3), (2, 1), (2, 3)):
        plugged = block(
            library,
            "BasicBlock",
            [entry("after_conv1", first), entry("after_conv2", second, postfix="_b")],
        )
        assert {"scale.weight", "scale_b.weight"} <= plugged.state_dict().keys()
        plugged.load_state_dict(plain.state_dict(), strict=False)
        assert torch.equal(plugged(x), by_hand(first, second))


@both
@pytest.mark.parametrize("name", ["BasicBlock", "Bottleneck"])
def test_all_plugins_at_one_position_act_in_their_order(library: str, name: str) -> None:
    last = "after_conv2" if name == "BasicBlock" else "after_conv3"
    calls = []
    made = block(library, name, [entry(last, 2.0), entry(last, 3.0, postfix="_b")])
    for part in ("scale", "scale_b"):
        getattr(made, part).register_forward_hook(lambda *_, part=part: calls.append(part))
    once = block(library, name, [entry(last, 6.0)])
    x = torch.randn(2, 8, 6, 6)
    torch.testing.assert_close(made(x), once(x))
    assert calls == ["scale", "scale_b"]


@both
def test_without_plugins_upstreams_forward_runs(library: str) -> None:
    """Bit-equal by construction: the very function of upstream is what is called."""
    made = block(library, "BasicBlock")
    x = torch.randn(2, 8, 6, 6)
    forward = type(made).forward
    assert forward.__wrapped__.__module__ == BOTH[library].__name__
    assert torch.equal(made(x), forward.__wrapped__(made, x))
    assert not made.with_plugins


@both
def test_checkpointing_recomputes_the_same(library: str) -> None:
    plugins = [entry("after_conv1", 1.5), entry("after_conv2", 0.5, postfix="_b")]
    grads = []
    for with_cp in (False, True):
        made = resnet(library, plugins, with_cp=with_cp)
        made(torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)))[-1].sum()
        x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
        made(x.requires_grad_())[-1].sum().backward()
        grads.append({name: p.grad for name, p in made.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    assert any("scale_b" in name for name in grads[0])
    for name in grads[0]:
        torch.testing.assert_close(grads[0][name], grads[1][name])


@both
def test_a_networks_initialisation_reaches_plugins(library: str) -> None:
    class Own(Scale):
        def init_weights(self) -> None:
            self.weight.data.fill_(7)

    made = resnet(library, [{"cfg": {"type": Own}, "position": "after_conv2"}])
    made.init_weights()
    assert made.layer4[1].own.weight.unique().tolist() == [7]
    assert made.layer4[1].norm2.weight.unique().tolist() == [0], "zero_init_residual still works"


WIDE = [
    ("mmdet.ResNeXt", {"groups": 4, "base_width": 4, "base_channels": 8, "stem_channels": 8}),
    ("mmseg.ResNeXt", {"groups": 4, "base_width": 4, "base_channels": 8, "stem_channels": 8}),
    ("mmdet.ResNeSt", {"groups": 2, "base_width": 8, "base_channels": 8, "stem_channels": 8}),
    ("mmseg.ResNeSt", {"groups": 2, "base_width": 8, "base_channels": 8, "stem_channels": 8}),
    ("mmdet.Res2Net", {"scales": 4, "base_width": 8, "base_channels": 8, "stem_channels": 8}),
    ("mmseg.ResNetV1c", {"base_channels": 8, "stem_channels": 8}),
    ("mmseg.ResNetV1d", {"base_channels": 8, "stem_channels": 8}),
    ("mmdet.RegNet", {"arch": "regnetx_400mf"}),
    (
        "mmdet.DetectoRS_ResNeXt",
        {"groups": 4, "base_width": 4, "base_channels": 8, "stem_channels": 8},
    ),
]


@pytest.mark.parametrize(("kind", "arguments"), WIDE, ids=[kind for kind, _ in WIDE])
def test_subclasses_get_their_real_channels(kind: str, arguments: dict) -> None:
    positions = ("after_conv1", "after_conv2", "after_conv3")
    plugins = [entry(at, postfix=at[-1], stages=(True, False, False, True)) for at in positions]
    depth = {} if "RegNet" in kind else {"depth": 50}
    made = MODELS.build({"type": kind, **depth, **arguments, "plugins": plugins})
    made.eval()
    maps = made(torch.randn(1, 3, 64, 64))
    assert len(maps) == 4
    first = made.layer1[0]
    assert first.scale1.weight.shape[0] == first.conv1.out_channels
    assert first.scale2.weight.shape[0] == first.conv3.in_channels
    assert first.scale3.weight.shape[0] == first.conv3.out_channels
    assert not any(name.startswith("layer2") and "scale" in name for name in made.state_dict())


@both
@pytest.mark.parametrize(
    ("depth", "plugins", "message"),
    [
        (18, [entry("after_conv3")], "BasicBlock.*two convolutions; use 'after_conv1' or"),
        (
            18,
            [entry("after_con2")],
            r"\[0\]: .* no position 'after_con2'\. Did you mean 'after_conv2'",
        ),
        (50, [entry("after_cnv3")], r"Bottleneck has no position.*Did you mean 'after_conv3'"),
        (18, [entry("after_conv1", stages=(True, False))], r"2 entries, but the network has 4"),
        (18, [entry("after_conv1", stages=(0, 1, 2, 3))], "True or False for each.*indices are"),
        (18, [entry("after_conv1") | {"stage": (1,)}], "takes no 'stage'. Did you mean 'stages'"),
        (18, [entry("after_conv1") | {"at": "x"}], "mmattn.WithPlugins"),
        (18, [{"cfg": {"type": Scale}}], "must be a dict with cfg and position"),
        (18, [{"cfg": {"type": Scale}, "possition": "x"}], "Did you mean 'position'"),
        (18, {"cfg": 1}, "must be a list of dicts"),
        (
            18,
            [
                entry("after_conv1", stages=(False, False, False, True)),
                {"cfg": {"type": "mmattn.ELA", "version": "X"}, "position": "after_conv2"},
            ],
            r"plugins\[1\] in BasicBlock: ELA\(version='X'\) cannot be built",
        ),
        (18, 2 * [entry("after_conv1")], r"plugins\[1\] in BasicBlock is called 'scale'.*postfix"),
        (
            18,
            [{"cfg": {"type": "mmattn.CrisCrossAttention"}, "position": "after_conv1"}],
            "no block 'mmattn.CrisCrossAttention'. Did you mean 'mmattn.CrissCrossAttention'",
        ),
        (
            18,
            [{"cfg": {"type": "mmattn.CrissCrossAttention", "r": 1}, "position": "after_conv1"}],
            "unexpected argument 'r' for CrissCrossAttention. .*It takes recurrence, reduction",
        ),
    ],
)
def test_mistakes_are_named(library: str, depth: int, plugins, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resnet(library, plugins, depth=depth)


@both
def test_a_block_with_its_own_forward_does_not_ignore_plugins_silently(library: str) -> None:
    class Own(BOTH[library].BasicBlock):
        def forward(self, x: Tensor) -> Tensor:
            return x

    assert Own(8, 8)(torch.ones(1)) == 1
    with pytest.raises(ConfigError, match="a forward of its own"):
        Own(8, 8, plugins=[entry("after_conv1")])
