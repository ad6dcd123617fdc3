"""Promise: a gate is computed in float32 whatever the network around it runs in."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mmattn.layers.precision import run_in_float32


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 3, 1), nn.BatchNorm2d(3, momentum=0.5))


@pytest.mark.parametrize("weights", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("inputs", [torch.float16, torch.float32])
def test_half_weights_and_inputs_give_the_float32_result(
    weights: torch.dtype, inputs: torch.dtype
) -> None:
    module = network().to(weights)
    x = torch.randn(2, 4, 3, 5).to(inputs)
    expected = copy.deepcopy(module).float()(x.float())
    y = run_in_float32(module, x)
    assert y.dtype == torch.float32
    assert torch.equal(y, expected)


def test_autocast_does_not_reach_it() -> None:
    module, x = network(), torch.randn(2, 4, 3, 5)
    expected = run_in_float32(copy.deepcopy(module), x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(run_in_float32(module, x), expected)


def test_float64_stays() -> None:
    assert run_in_float32(network().double(), torch.ones(1, 4, 2, 2).double()).dtype == (
        torch.float64
    )


def test_training_moves_the_running_statistics_of_half_modules() -> None:
    single, half = network(), network().half()
    single.load_state_dict(half.state_dict())
    x = torch.randn(2, 4, 3, 5)
    run_in_float32(single, x), run_in_float32(half, x)
    assert half[1].num_batches_tracked == 1
    for name in ("running_mean", "running_var"):
        moved = getattr(half[1], name)
        assert moved.dtype == torch.float16
        assert torch.equal(moved, getattr(single[1], name).half())


def test_gradients_reach_half_weights() -> None:
    module = network().half()
    run_in_float32(module, torch.randn(2, 4, 3, 5).half()).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.dtype == torch.float16


def test_half_statistics_alone_are_raised_too() -> None:
    """A norm without weights, which has nothing but buffers."""
    norm, x = nn.BatchNorm2d(4, affine=False).half().eval(), torch.randn(2, 4, 3, 5)
    norm.running_var.fill_(0.5), norm.running_mean.fill_(0.1)
    expected = copy.deepcopy(norm).float()(x)
    assert torch.equal(run_in_float32(nn.Sequential(norm), x), expected)
