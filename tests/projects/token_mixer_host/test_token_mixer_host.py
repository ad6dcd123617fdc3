"""Promise: the host is the authors' network around any mixer, at any size, with their counts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmattn.projects.token_mixer_host import DepthwiseMixer, TokenMixerHost
from mmattn.projects.token_mixer_host.backbone import SCALES
from mmattn.registry import MODELS
from mmattn.testing.module_costs import macs, parameters
from mmattn.testing.plugin import PluginTester
from tests.support.config_tester import ConfigTester

IDENTITY = {"type": nn.Identity}
CONV = {"type": "mmattn.DepthwiseMixer"}
MIXERS = [
    {"type": "mmattn.AggregatedAttention", "sr_ratio": 2},
    {"type": "mmattn.AgentAttention"},
    {"type": "mmattn.CBAM"},
    {"type": "mmattn.ConvGLU"},
    CONV,
    {"type": "mmattn.ELA"},
    {"type": "mmattn.InLineAttention"},
    {"type": "mmattn.ScaleAwareModulation"},
    {"type": "mmattn.VariedSizeWindowAttention"},
]


def host(mixer, scale: str = "micro", **kwargs) -> TokenMixerHost:
    """A host on the meta device, with the published head."""
    with torch.device("meta"):
        return TokenMixerHost(mixer, scale=scale, num_classes=1000, **kwargs)


@pytest.mark.parametrize(
    ("scale", "depths", "count"),
    [
        ("micro", (3, 3, 8, 3), 4_439_624),
        ("tiny", (2, 2, 9, 2), 31_912_360),
        ("small", (2, 2, 24, 2), 54_393_640),
        ("base", (2, 2, 24, 2), 95_865_576),
    ],
)
def test_parameters_with_the_convolution(scale: str, depths: tuple[int, ...], count: int) -> None:
    assert parameters(host(CONV, scale, depths=depths)) == count


@pytest.mark.parametrize(
    ("scale", "stem", "down", "norms", "head", "classifier"),
    [
        ("micro", 5_184, 387_968, 960, 99_072, 385_000),
        ("tiny", 43_200, 3_486_336, 2_880, 887_040, 1_153_000),
        ("base", 76_032, 6_196_736, 3_840, 1_575_936, 1_537_000),
    ],
)
def test_parameters_of_the_fixed_part(
    scale: str, stem: int, down: int, norms: int, head: int, classifier: int
) -> None:
    net = host(IDENTITY, scale)
    first, *others = net.downsample_layers
    assert (parameters(first), sum(map(parameters, others))) == (stem, down)
    assert parameters(net.stage_norms) == norms
    assert (parameters(net.conv_head), parameters(net.head)) == (head, classifier)
    widths, depths = SCALES[scale]
    blocks = sum(n * (8 * c * c + 11 * c) for c, n in zip(widths, depths, strict=True))
    assert parameters(net) == stem + down + norms + head + classifier + blocks


def test_parameters_of_another_mixer_follow_from_its_formula() -> None:
    def inline(c: int) -> int:
        return 4 * c * c + 4 * c + 10 * c * 32 + 10 * c

    widths, depths = SCALES["tiny"]
    extra = sum(n * inline(c) for c, n in zip(widths, depths, strict=True))
    plain = parameters(host(IDENTITY, "tiny"))
    assert parameters(host({"type": "mmattn.InLineAttention"}, "tiny")) == plain + extra


def test_multiply_accumulates_with_the_convolution() -> None:
    net = _Classifier(host(CONV, depths=(3, 3, 8, 3)))
    assert macs(net, 1, 3, 224, 224) == pytest.approx(0.648e9, abs=0.0005e9)


@pytest.mark.parametrize("mixer", MIXERS, ids=lambda mixer: mixer["type"])
def test_any_mixer_runs_at_any_size(mixer: dict) -> None:
    torch.manual_seed(0)
    net = MODELS.build(
        {"type": "mmattn.TokenMixerHost", "token_mixer": mixer, "depths": (1, 1, 1, 1)}
    )
    net.init_weights()
    net.eval()
    for module in net.modules():
        if hasattr(module, "gamma_1"):
            nn.init.ones_(module.gamma_1)
    sizes = []
    for height, width in ((33, 47), (1, 1)):
        maps = net(torch.randn(2, 3, height, width))
        assert all(y.isfinite().all() for y in maps)
        sizes.append([tuple(y.shape[1:]) for y in maps])
    assert sizes[0] == [(32, 9, 12), (64, 5, 6), (128, 3, 3), (256, 2, 2)]
    assert sizes[1] == [(c, 1, 1) for c in (32, 64, 128, 256)]
    maps[-1].sum().backward()
    weights = [p for block in net.stages for p in block[0].attn.parameters()]
    assert all(p.grad is not None for p in weights)


def test_a_scale_of_zero_leaves_the_mixer_out() -> None:
    torch.manual_seed(0)
    net = TokenMixerHost(CONV, depths=(1, 1, 1, 1), out_indices=(3,)).eval()
    x = torch.randn(1, 3, 64, 64)
    fresh = net(x)[0]
    for stage in net.stages:
        nn.init.zeros_(stage[0].gamma_1)
    without = net(x)[0]
    assert (fresh - without).abs().max() < 1e-3
    for parameter in net.stages[0][0].attn.parameters():
        nn.init.normal_(parameter)
    assert torch.equal(net(x)[0], without)
    nn.init.ones_(net.stages[0][0].gamma_1)
    assert (net(x)[0] - without).abs().max() > 1e-2


def test_a_mixers_own_initial_weights_are_kept() -> None:
    net = TokenMixerHost({"type": "mmattn.VariedSizeWindowAttention"}, depths=(1, 1, 1, 1))
    net.init_weights()
    attention, mlp = net.stages[0][0].attn, net.stages[0][0].mlp
    assert not attention.transform[2].weight.any()
    assert mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert net.stages[0][0].gamma_2.unique().tolist() == pytest.approx([1e-6])


def test_state_dict_has_the_authors_names() -> None:
    names = set(host(CONV, depths=(1, 1, 1, 1)).state_dict())
    assert {
        "downsample_layers.0.stem.0.bias",
        "downsample_layers.0.stem.4.weight",
        "downsample_layers.3.reduction.0.weight",
        "downsample_layers.1.reduction.1.bias",
        "stages.2.0.norm1.weight",
        "stages.2.0.attn.dwconv.weight",
        "stages.2.0.gamma_1",
        "stages.2.0.mlp.fc2.bias",
        "stage_norms.3.weight",
        "conv_head.0.weight",
        "conv_head.1.running_var",
        "head.bias",
    } <= names
    assert "downsample_layers.1.reduction.0.bias" not in names


def test_drop_path_grows_with_depth() -> None:
    net = TokenMixerHost(IDENTITY, depths=(1, 2, 1, 1), drop_path_rate=0.4)
    rates = [getattr(b.drop_path, "drop_prob", 0) for stage in net.stages for b in stage]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="scale must be one of micro, tiny, small, base, got 'l'"):
        TokenMixerHost(CONV, scale="l")
    with pytest.raises(ValueError, match="token_mixer must have one entry for each of 4 stages"):
        TokenMixerHost([CONV, CONV])
    with pytest.raises(ValueError, match="classify needs num_classes"):
        TokenMixerHost(IDENTITY).classify(torch.ones(1, 3, 32, 32))
    by_stage = TokenMixerHost([CONV, CONV, IDENTITY, IDENTITY], depths=(1, 1, 1, 1))
    kinds = [type(stage[0].attn) for stage in by_stage.stages]
    assert kinds == [DepthwiseMixer, DepthwiseMixer, nn.Identity, nn.Identity]


class _Classifier(nn.Module):
    def __init__(self, net: TokenMixerHost):
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net.classify(x)


class TestDepthwiseMixer(PluginTester):
    module = DepthwiseMixer
    in_channels = 8
    state_keys = {
        f"{layer}.{part}"
        for layer in ("input_proj", "dwconv", "out_proj")
        for part in ("weight", "bias")
    }
    parameters = staticmethod(lambda c: 2 * c * c + 52 * c)


class TestConfigs(ConfigTester):
    folder = "configs/token_mixer_host"
    paper = "arXiv:2211.05781"
    block = TokenMixerHost
    expected = {
        "retinanet_host-micro-inline_fpn_1x_coco": ("detection", 1),
        "fpn_host-micro-inline_4xb4-160k_ade20k-512x512": ("semantic", 1),
    }
    quick = "fpn_host-micro-inline_4xb4-160k_ade20k-512x512"
