"""Promise: ELA is the paper's module in all versions, for maps of any shape."""

from __future__ import annotations

import pytest
import torch
from mmdet.models.backbones import ResNet as MMDetResNet
from torch import Tensor, nn

from mmattn.projects.blocks.ela import ELA
from mmattn.testing.module_costs import kept_for_backward
from mmattn.testing.plugin import PluginTester

# Version -> taps, channels in a group of the convolution, groups of the norm: the sizes as printed.
SIZES = {"T": (5, 1, 32), "B": (7, 1, 16), "S": (5, 8, 16), "L": (7, 8, 16)}
PARAMETERS = {"T": 7, "B": 9, "S": 42, "L": 58}


def by_loops(module: ELA, x: Tensor) -> Tensor:
    """The equations, channel by channel and tap by tap."""
    taps, width, groups = SIZES[module.version]
    channels = x.shape[1]
    weight, scale, shift = module.conv.weight, module.gn.weight, module.gn.bias

    def gate(strip: Tensor) -> Tensor:
        """(C, L) to (C, L)."""
        length = strip.shape[1]
        mixed = torch.zeros_like(strip)
        for c in range(channels):
            first = c // width * width
            for t in range(length):
                for j in range(taps):
                    at = t + j - taps // 2
                    if 0 <= at < length:
                        mixed[c, t] += weight[c, :, j] @ strip[first : first + width, at]
        result = torch.empty_like(mixed)
        per_group = channels // groups
        for g in range(groups):
            members = slice(g * per_group, (g + 1) * per_group)
            part = mixed[members]
            deviation = part - part.sum() / part.numel()
            variance = (deviation**2).sum() / part.numel()
            normed = deviation / torch.sqrt(variance + 1e-5)
            logits = normed * scale[members, None] + shift[members, None]
            result[members] = 1 / (1 + torch.exp(-logits))
        return result

    y = torch.empty_like(x)
    for n, image in enumerate(x):
        rows = gate(image.sum(2) / image.shape[2])
        columns = gate(image.sum(1) / image.shape[1])
        y[n] = image * rows[:, :, None] * columns[:, None, :]
        if module.residual:
            y[n] += image
    return y


class TestELA(PluginTester):
    """B, the default."""

    module = ELA
    in_channels = 32
    state_keys = {"conv.weight", "gn.weight", "gn.bias"}
    parameters = staticmethod(lambda c: 9 * c)
    reference = staticmethod(by_loops)
    output_is_gated_input = True

    def randomize_zero_init(self, module: ELA) -> None:
        nn.init.uniform_(module.gn.weight, 0.5, 1.5)
        nn.init.normal_(module.gn.bias, std=0.3)


class TestT(TestELA):
    """A group of the norm has one channel: on a 1 x 1 map it sees a single value."""

    arguments = {"version": "T"}
    parameters = staticmethod(lambda c: 7 * c)


class TestS(TestELA):
    arguments = {"version": "S"}
    parameters = staticmethod(lambda c: 42 * c)

    # The graph is that of the other versions.
    @pytest.mark.slow
    def test_compiles_as_one_graph(self) -> None:
        super().test_compiles_as_one_graph()

    @pytest.mark.slow
    def test_onnx_runs_at_sizes_it_was_not_traced_at(self) -> None:
        super().test_onnx_runs_at_sizes_it_was_not_traced_at()


class TestResidualL(TestELA):
    arguments = {"version": "L", "residual": True}
    output_is_gated_input = False
    parameters = staticmethod(lambda c: 58 * c)


def randomized(channels: int = 32, **kwargs) -> ELA:
    torch.manual_seed(0)
    module = ELA(channels, **kwargs)
    TestELA().randomize_zero_init(module)
    return module


@pytest.mark.parametrize("version", SIZES)
def test_sizes_of_the_versions(version: str) -> None:
    taps, width, groups = SIZES[version]
    module = ELA(256, **ELA.variants[version])
    assert module.conv.weight.shape == (256, width, taps)
    assert module.conv.groups == 256 // width
    assert module.conv.bias is None
    assert (module.gn.num_groups, module.gn.eps, module.gn.affine) == (groups, 1e-5, True)
    assert sum(p.numel() for p in module.parameters()) == PARAMETERS[version] * 256


@pytest.mark.parametrize("version", SIZES)
def test_transposed_input_gives_transposed_output(version: str) -> None:
    """The convolution and the norm are the same for both directions."""
    module, x = randomized(version=version), torch.randn(2, 32, 5, 7)
    torch.testing.assert_close(module(x.transpose(2, 3)), module(x).transpose(2, 3))


def test_gates_are_constant_along_what_they_average() -> None:
    x = torch.randn(2, 32, 5, 7).abs() + 0.1
    gates = randomized()(x) / x  # a_h[c, y] a_w[c, x]: of rank one
    torch.testing.assert_close(
        gates[:, :, :1, :1] * gates, gates[:, :, :, :1] * gates[:, :, :1], rtol=1e-4, atol=1e-5
    )
    # Rows that are alike in their means get the same gate wherever columns differ.
    flat = torch.randn(2, 32, 5, 1).expand(-1, -1, -1, 7)
    rows = randomized()(flat) / flat
    assert rows[:, :, 1:].std(2).max() > 1e-3


def test_residual_adds_the_input() -> None:
    x = torch.randn(2, 32, 5, 7)
    torch.testing.assert_close(randomized(residual=True)(x), x + randomized()(x))


def test_through_the_convolution_a_row_depends_on_its_neighbours_only() -> None:
    """And through the norm, on all rows."""
    for norm, seen in ((False, 5), (True, 12)):
        module = randomized(version="T")
        if not norm:
            module.gn = nn.Identity()
        x = torch.randn(1, 32, 12, 3, requires_grad=True)
        module.gates(x)[0][0, 4, 6].backward()
        assert (x.grad.abs().sum((0, 1, 3)) > 0).sum() == seen
        assert x.grad.abs().sum((0, 2, 3)).nonzero().flatten().tolist() == [4]


def test_every_output_depends_on_every_input_of_its_group() -> None:
    module, x = randomized(), torch.randn(1, 32, 5, 7, requires_grad=True)
    module(x)[0, 4, 2, 3].backward()
    # All positions of channels 4 and 5, which share a group of the norm, in row or in column means.
    assert (x.grad[0].abs().amax((1, 2)) > 0).nonzero().flatten().tolist() == [4, 5]
    assert (x.grad[0, 4] != 0).all()


@pytest.mark.parametrize("version", ["S", "L"])
def test_eight_channels_mix(version: str) -> None:
    module = randomized(version=version)
    module.gn = nn.Identity()
    x = torch.randn(1, 32, 5, 7, requires_grad=True)
    module(x)[0, 11].sum().backward()
    assert x.grad.abs().sum((0, 2, 3)).nonzero().flatten().tolist() == list(range(8, 16))


def test_a_group_of_one_value_gets_the_gate_of_its_bias() -> None:
    module = randomized(version="T")
    x = torch.randn(2, 32, 1, 1)
    gate = module.gn.bias.sigmoid()[:, None, None]
    torch.testing.assert_close(module(x), x * gate * gate)
    # torch itself refuses that for a single image.
    with pytest.raises(ValueError, match="more than 1 value"):
        nn.GroupNorm(32, 32)(x[:1, :, :, 0])
    torch.testing.assert_close(module(x[:1]), x[:1] * gate * gate)


@pytest.mark.parametrize("residual", [False, True])
def test_training_keeps_the_input_and_no_other_map(residual: bool) -> None:
    """The rest is strips: three for each direction."""
    x = torch.randn(2, 64, 40, 48)
    kept = kept_for_backward(ELA(64, residual=residual).train(), x)
    assert kept["input"] == x.nbytes
    assert kept["other"] < 0.15 * x.nbytes


def test_a_fresh_module_shrinks_features() -> None:
    """To about a third, so ``residual=True`` suits pretrained networks better."""
    torch.manual_seed(0)
    module, x = ELA(64), torch.randn(8, 64, 32, 32)
    ratio = (module(x).square().mean() / x.square().mean()).sqrt()
    assert 0.25 < ratio < 0.45


def test_channels_that_do_not_divide_are_an_error_that_says_what_fits() -> None:
    with pytest.raises(
        ValueError,
        match=r"in_channels=144 does not fit ELA-T.*32 groups.*version 'B' and version 'S' and "
        r"version 'L' would fit; fallback='divisor' takes a convolution of 144 and a norm of 24",
    ):
        ELA(144, version="T")
    for version in ("B", "S", "L"):
        ELA(144, version=version)
    with pytest.raises(ValueError, match=r"in_channels=12 .*ELA-S.*groups of 8.*No version fits"):
        ELA(12, version="S")


@pytest.mark.parametrize(
    ("channels", "version", "conv", "norm"),
    [(144, "T", 144, 24), (24, "S", 3, 12), (12, "L", 1, 12), (20, "S", 2, 10), (7, "B", 7, 7)],
)
def test_the_fallback_takes_the_largest_divisors(channels, version, conv, norm) -> None:
    module = randomized(channels, version=version, fallback="divisor")
    assert (module.conv.groups, module.gn.num_groups) == (conv, norm)
    x = torch.randn(2, channels, 3, 4)
    assert module(x).shape == x.shape


def test_the_fallback_changes_nothing_where_channels_divide() -> None:
    module, same = randomized(), randomized(fallback="divisor")
    same.load_state_dict(module.state_dict())
    x = torch.randn(2, 32, 5, 7)
    assert torch.equal(module(x), same(x))


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="version must be one of T, B, S, L, got 'M'"):
        ELA(32, version="M")
    with pytest.raises(ValueError, match="fallback must be None or 'divisor', got 'pad'"):
        ELA(32, fallback="pad")


def test_the_authors_place_in_a_resnet() -> None:
    """After the 3 x 3 convolution and its ReLU, at its width."""
    cfg = {"type": "mmattn.ELA", "residual": True}
    with torch.device("meta"):
        net = MMDetResNet(50, plugins=[{"cfg": cfg, "position": "after_conv2"}])
    assert [net.get_submodule(f"layer{i}.0.ela").in_channels for i in (1, 2, 3, 4)] == [
        64, 128, 256, 512,
    ]  # fmt: skip
