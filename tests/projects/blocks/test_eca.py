"""Promise: ECA is the paper's module, its rule is exact, and timm's weights mean the same."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from mmdet.models.backbones import ResNet as MMDetResNet
from mmseg.models.backbones import ResNet as MMSegResNet
from timm.layers import EcaModule
from torch import Tensor

from mmattn.projects.blocks.eca import ECA, kernel_rule
from mmattn.testing.module_costs import kept_for_backward
from mmattn.testing.plugin import PluginTester

TABLE = {
    16: 3, 32: 3, 64: 3, 96: 3, 128: 5, 256: 5, 320: 5, 512: 5, 1024: 5, 1280: 5, 2048: 7,
}  # fmt: skip


def by_loops(module: ECA, x: Tensor) -> Tensor:
    """The equations, channel by channel and tap by tap."""
    channels, k = x.shape[1], module.kernel_size
    weights = module.conv.weight[:, 0]  # (1 or C, k)
    y = torch.empty_like(x)
    for n, image in enumerate(x):
        g = [channel.sum() / channel.numel() for channel in image]
        for c in range(channels):
            total = x.new_zeros(())
            for j in range(k):
                neighbour = c + j - (k - 1) // 2
                if 0 <= neighbour < channels:
                    total = total + weights[c if module.per_channel else 0, j] * g[neighbour]
            y[n, c] = image[c] / (1 + torch.exp(-total))
    return y


class TestECA(PluginTester):
    module = ECA
    state_keys = {"conv.weight"}
    parameters = staticmethod(kernel_rule)
    reference = staticmethod(by_loops)
    output_is_gated_input = True


class TestOneKernelForEachChannel(TestECA):
    arguments = {"per_channel": True}
    parameters = staticmethod(lambda channels: channels * kernel_rule(channels))


@pytest.mark.parametrize(("channels", "size"), list(TABLE.items()))
def test_rule_is_the_papers(channels: int, size: int) -> None:
    assert kernel_rule(channels) == size
    assert ECA(channels).conv.kernel_size == (size,)
    assert EcaModule(channels).conv.kernel_size == (size,)


def test_rule_is_the_nearest_odd_number_and_the_larger_of_two() -> None:
    """By exact comparison of powers: t = (log2(C) + b) / gamma."""

    def at_most(bound: Fraction, channels: int, gamma: int, b: int) -> bool:
        """bound <= t, that is 2^(gamma bound - b) <= C."""
        power = gamma * bound - b
        return 2**power.numerator <= channels**power.denominator

    for gamma, b in ((2, 1), (1, 0), (3, 2), (5, 1)):
        for channels in [*range(1, 130), 255, 256, 257, 511, 512, 2047, 2048, 2**29, 2**29 - 1]:
            size = kernel_rule(channels, gamma, b)
            assert size % 2 == 1
            assert size == 1 or at_most(Fraction(size - 1), channels, gamma, b)
            assert not at_most(Fraction(size + 1), channels, gamma, b)


def test_ties_and_the_rounding_of_logarithms() -> None:
    # 128 and 2048 lie between two odd numbers; one channel less does not.
    assert [kernel_rule(c) for c in (127, 128, 2047, 2048)] == [3, 5, 5, 7]
    # The logarithm of 2^50 - 1 is rounded to 50, which would give 51.
    assert math.log(2**50 - 1, 2) == 50
    assert [kernel_rule(c, gamma=1, b=0) for c in (2**50 - 1, 2**50)] == [49, 51]


def test_rule_of_few_channels_is_below_timms() -> None:
    assert [kernel_rule(c) for c in (1, 4, 7, 8)] == [1, 1, 1, 3]
    assert EcaModule(4).conv.kernel_size == (3,)


def test_wrong_arguments_of_the_rule_are_named() -> None:
    for arguments, error, message in (
        ((0,), ValueError, "channels must be at least 1, got 0"),
        ((8, 0), ValueError, "gamma must be at least 1, got 0"),
        ((8, 2, -1), ValueError, "b must be at least 0, got -1"),
        ((8.0,), TypeError, r"channels must be an integer, got 8\.0"),
        ((8, 1.5), TypeError, r"gamma must be an integer, got 1\.5"),
    ):
        with pytest.raises(error, match=message):
            kernel_rule(*arguments)


def test_a_given_kernel_overrides_the_rule() -> None:
    assert ECA(512, kernel_size=3).conv.kernel_size == (3,)
    for size in (0, 2, -1):
        with pytest.raises(ValueError, match=rf"kernel_size must be (odd|at least 1), got {size}"):
            ECA(8, kernel_size=size)


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_gate_sees_its_neighbours_alone(per_channel: bool) -> None:
    """The derivative of gate c by mean d is zero beyond (k - 1) / 2 channels, and nowhere else."""
    module = ECA(16, kernel_size=5, per_channel=per_channel)
    band = torch.autograd.functional.jacobian(module.gate, torch.randn(1, 16))[0, :, 0]
    channel = torch.arange(16)
    assert torch.equal(band != 0, (channel[:, None] - channel).abs() <= 2)


def test_positions_do_not_matter_to_the_gate() -> None:
    module, x = ECA(16), torch.randn(2, 16, 5, 7)
    order = torch.randperm(35)

    def shuffled(features: Tensor) -> Tensor:
        return features.flatten(2)[:, :, order].unflatten(2, (5, 7))

    torch.testing.assert_close(module(shuffled(x)), shuffled(module(x)))


def test_order_of_channels_matters() -> None:
    torch.manual_seed(0)
    module, x = ECA(16), torch.randn(2, 16, 5, 7)
    order = torch.randperm(16)
    assert (module(x[:, order]) - module(x)[:, order]).abs().max() > 1e-3


def test_images_of_a_batch_do_not_mix() -> None:
    """Also a batch of one, whose dimension a careless squeeze would drop."""
    for module in (ECA(16), ECA(16, per_channel=True), ECA(1)):
        x = torch.randn(3, module.in_channels, 5, 7)
        one_by_one = torch.cat([module(image) for image in x.split(1)])
        torch.testing.assert_close(module(x), one_by_one)


def test_zeros_halve_nothing_and_have_finite_gradients() -> None:
    """The first input if the norm before it starts at zero: every gate is 1/2."""
    module, x = ECA(16), torch.zeros(2, 16, 5, 7, requires_grad=True)
    module(x).sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 0.5))


def test_training_keeps_the_input_and_no_other_map() -> None:
    x = torch.randn(2, 64, 40, 48)
    kept = kept_for_backward(ECA(64).train(), x)
    assert kept["input"] == x.nbytes
    assert kept["other"] < 0.01 * x.nbytes


@pytest.mark.parametrize("channels", [16, 24, 512])
def test_weights_of_timm_give_timms_output(channels: int) -> None:
    theirs, ours = EcaModule(channels), ECA(channels)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(2, channels, 5, 7)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("resnet", [MMDetResNet, MMSegResNet])
@pytest.mark.parametrize(("depth", "position"), [(18, "after_conv2"), (50, "after_conv3")])
def test_a_kernel_for_each_stage(resnet: type, depth: int, position: str) -> None:
    kernels = (3, 5, 5, 7)
    plugins = [
        {
            "cfg": {"type": "mmattn.ECA", "kernel_size": size},
            "stages": tuple(kernel == size for kernel in kernels),
            "position": position,
        }
        for size in (3, 5, 7)
    ]
    with torch.device("meta"):
        net = resnet(depth, plugins=plugins)
    for stage, size in enumerate(kernels, 1):
        for block in getattr(net, f"layer{stage}"):
            assert block.eca.conv.kernel_size == (size,)
            assert block.eca.in_channels == 64 * 2 ** (stage - 1) * block.expansion
