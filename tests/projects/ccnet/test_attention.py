"""Promise: the module computes the paper's equation at its cost, on published weights too."""

from __future__ import annotations

import pytest
import torch
from mmcv.ops import CrissCrossAttention as MMCVCrissCrossAttention
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mmattn.projects.ccnet import CrissCrossAttention
from mmattn.testing.plugin import PluginTester


def by_loops(module: CrissCrossAttention, x: Tensor) -> Tensor:
    """The equation, position by position, with 1x1 convolutions as matrices."""

    def linear(conv, features: Tensor) -> Tensor:
        return conv.weight[:, :, 0, 0] @ features + conv.bias[:, None]

    _, _, height, width = x.shape
    for _ in range(module.recurrence):
        result = torch.empty_like(x)
        for n, image in enumerate(x):
            for y in range(height):
                for col in range(width):
                    column_without_self = torch.cat([image[:, :y, col], image[:, y + 1 :, col]], 1)
                    seen = torch.cat([image[:, y], column_without_self], 1)  # (C, H + W - 1)
                    here = image[:, y, col, None]
                    logits = linear(module.query_conv, here).T @ linear(module.key_conv, seen)
                    gathered = linear(module.value_conv, seen) @ logits.softmax(-1).T
                    result[n, :, y, col] = (module.gamma * gathered + here)[:, 0]
        x = result
    return x


class TestCrissCrossAttention(PluginTester):
    module = CrissCrossAttention
    state_keys = {
        "gamma",
        *(
            f"{name}_conv.{part}"
            for name in ("query", "key", "value")
            for part in ("weight", "bias")
        ),
    }
    arguments = {"recurrence": 2}
    identity_at_init = True
    reference = staticmethod(by_loops)
    # It adds one constant to all logits of a query, which does not change their softmax.
    parameters_without_gradient = {"key_conv.bias"}

    def randomize_zero_init(self, module: CrissCrossAttention) -> None:
        torch.nn.init.constant_(module.gamma, 0.7)


def randomized(channels: int = 16, **kwargs) -> CrissCrossAttention:
    torch.manual_seed(0)
    module = CrissCrossAttention(channels, **kwargs)
    torch.nn.init.ones_(module.gamma)
    return module


def test_attention_maps_are_the_weights_of_the_values() -> None:
    """For all positions at once, and both applications."""
    module, x = randomized(recurrence=2), torch.randn(2, 16, 3, 4)
    positions = [(row, column) for row in range(3) for column in range(4)]
    maps = module.attention_maps(x, positions)
    assert list(maps) == ["step1", "step2"]
    y = x
    for weights in maps.values():
        torch.testing.assert_close(weights.sum((2, 3)), torch.ones(2, 12))
        gathered = module.value_conv(y).flatten(2) @ weights.flatten(2).transpose(1, 2)
        y = y + gathered.view_as(y)
    torch.testing.assert_close(module(x), y)


@pytest.mark.parametrize("size", [(5, 7), (1, 6), (6, 1), (1, 1)])
def test_weights_of_mmcv_give_mmcvs_output(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    theirs = MMCVCrissCrossAttention(16)
    torch.nn.init.ones_(theirs.gamma.scale)  # at its initial 0 any module would agree
    ours = CrissCrossAttention(16)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(2, 16, *size)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_loading_leaves_the_callers_dictionary_alone() -> None:
    state = MMCVCrissCrossAttention(16).state_dict()
    before = set(state)
    CrissCrossAttention(16).load_state_dict(state)
    assert set(state) == before


def test_once_reaches_a_cross_twice_reaches_everything() -> None:
    for recurrence, reached in ((0, 1), (1, 5 + 7 - 1), (2, 5 * 7)):
        x = torch.randn(1, 16, 5, 7, dtype=torch.float64, requires_grad=True)
        randomized(recurrence=recurrence).double()(x)[0, :, 2, 3].sum().backward()
        assert (x.grad.abs().sum(1) > 0).sum() == reached


def test_transposed_input_gives_transposed_output() -> None:
    module, x = randomized(recurrence=2), torch.randn(2, 16, 5, 7)
    torch.testing.assert_close(
        module(x.transpose(2, 3)), module(x).transpose(2, 3), rtol=1e-5, atol=1e-5
    )


def test_gamma_has_its_derivative() -> None:
    module = randomized(8, recurrence=2).double()
    x = torch.randn(1, 8, 2, 3, dtype=torch.float64)

    def function(gamma: Tensor) -> Tensor:
        return torch.func.functional_call(module, {"gamma": gamma}, x)

    gamma = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, gamma)


@pytest.mark.parametrize(("recurrence", "gflops"), [(1, 8.26), (2, 16.52), (3, 24.77)])
def test_flops_are_the_papers(recurrence: int, gflops: float) -> None:
    """769 x 769 images: 97 x 97 maps of 512 channels; counted on the meta device."""
    with torch.device("meta"):
        module, x = CrissCrossAttention(512, recurrence=recurrence), torch.empty(1, 512, 97, 97)
    with FlopCounterMode(display=False) as counter:
        module(x)
    # Columns compute their own position as well before they drop it: 1 in 194 of the core.
    assert counter.get_total_flops() / 1e9 == pytest.approx(gflops, rel=2e-3)


def test_parameters_are_the_papers() -> None:
    assert sum(p.numel() for p in CrissCrossAttention(512).parameters()) == 328_321


def test_fewer_than_eight_channels_keep_a_query() -> None:
    assert CrissCrossAttention(4).query_conv.out_channels == 1
    assert randomized(4)(torch.randn(1, 4, 3, 3)).shape == (1, 4, 3, 3)


def test_bad_arguments_are_named() -> None:
    for kwargs in ({"in_channels": 0}, {"in_channels": 8, "reduction": 0}):
        with pytest.raises(ValueError, match=f"{list(kwargs)[-1]} must be at least 1, got 0"):
            CrissCrossAttention(**kwargs)
    with pytest.raises(ValueError, match="recurrence must be at least 0"):
        CrissCrossAttention(8, recurrence=-1)
