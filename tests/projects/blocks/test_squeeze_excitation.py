"""Promise: SE is the paper's block at its cost, on public weights too."""

from __future__ import annotations

import pytest
import torch
from timm.layers import SEModule
from torch import Tensor
from torchvision.ops import SqueezeExcitation

from mmattn.projects.blocks.squeeze_excitation import SE
from mmattn.testing.plugin import PluginTester


def by_loops(module: SE, x: Tensor) -> Tensor:
    """The equations, channel by channel."""
    (w1, b1), (w2, b2) = ((fc.weight[:, :, 0, 0], fc.bias) for fc in (module.fc1, module.fc2))
    y = torch.empty_like(x)
    for n, image in enumerate(x):
        z = torch.stack([channel.sum() / channel.numel() for channel in image])
        s = 1 / (1 + torch.exp(-(w2 @ (w1 @ z + b1).clamp(min=0) + b2)))
        for c, channel in enumerate(image):
            y[n, c] = s[c] * channel
    return y


class TestSE(PluginTester):
    module = SE
    in_channels = 32
    state_keys = {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}
    parameters = staticmethod(lambda c: 2 * c * (c // 16) + c // 16 + c)
    reference = staticmethod(by_loops)
    output_is_gated_input = True


def test_zero_weights_halve_the_input() -> None:
    module = SE(32)
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(2, 32, 5, 7)
    assert torch.equal(module(x), x / 2)


def test_positions_do_not_matter_to_the_gate() -> None:
    module, x = SE(32), torch.randn(2, 32, 5, 7)
    order = torch.randperm(35)

    def shuffled(features: Tensor) -> Tensor:
        return features.flatten(2)[:, :, order].unflatten(2, (5, 7))

    torch.testing.assert_close(module(shuffled(x)), shuffled(module(x)))


@pytest.mark.parametrize("bias", [True, False])
def test_weights_of_timm_give_timms_output(bias: bool) -> None:
    theirs = SEModule(96, bias=bias)  # 96 / 16 = 6 hidden channels are rounded to 8
    ours = SE(96, hidden_channels=8, bias=bias)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(2, 96, 5, 7)
    torch.testing.assert_close(ours(x), theirs(x))


def test_weights_of_torchvision_give_torchvisions_output() -> None:
    theirs = SqueezeExcitation(32, 4)
    ours = SE(32, reduction=8)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(2, 32, 5, 7)
    torch.testing.assert_close(ours(x), theirs(x))


def test_a_resnet50_grows_as_published() -> None:
    """28.09 M parameters with biases and 28.07 M without, on 25,557,032."""
    blocks = {256: 3, 512: 4, 1024: 6, 2048: 3}
    totals = []
    for bias in (True, False):
        with torch.device("meta"):
            sizes = {c: sum(p.numel() for p in SE(c, bias=bias).parameters()) for c in blocks}
        totals.append(25_557_032 + sum(blocks[c] * sizes[c] for c in blocks))
    assert totals == [28_088_024, 28_071_976]


def test_fewer_channels_than_the_reduction_keep_one() -> None:
    assert SE(4).fc1.out_channels == 1


def test_bad_arguments_are_named() -> None:
    for kwargs in ({"reduction": 0}, {"hidden_channels": 0}):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            SE(8, **kwargs)
