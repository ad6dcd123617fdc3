"""The average equals mmdet's, tensor by tensor, and its formula."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from mmdet.models.layers import ExpMomentumEMA
from mmengine.registry import MODELS
from torch import nn

from mmattn.models.ramped_ema import RampedEMA


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3))


def train_a_little(model: nn.Module, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=random))
        model(torch.randn(2, 1, 4, 4, generator=random))


def test_it_equals_mmdets_average() -> None:
    model = network()
    ours, theirs = RampedEMA(model, ramp=7), ExpMomentumEMA(model, 1e-4, 7, update_buffers=True)
    for step in range(30):
        train_a_little(model, step)
        for average in (ours, theirs):
            average.update_parameters(model)
        for name, value in theirs.module.state_dict().items():
            if value.is_floating_point():
                torch.testing.assert_close(ours.module.state_dict()[name], value)
    assert (
        ours.module.state_dict()["1.num_batches_tracked"] == 30
    )  # mmdet's stays at that of the first update


@pytest.mark.parametrize("update", [2, 2000, 100_000])
def test_the_share_that_is_kept(update: int) -> None:
    average = RampedEMA(network())
    steps = average.get_buffer("steps")
    steps.fill_(update - 1)
    source = network()
    for model, value in ((average.module, 1.0), (source, 0.0)):
        for parameter in model.parameters():
            parameter.data.fill_(value)
    average.update_parameters(source)
    share = 0.9999 * (1 - math.exp(-update / 2000))
    assert average.module.state_dict()["0.weight"].flatten().tolist() == pytest.approx(
        [share] * 3, abs=1e-6
    )


def test_buffers_may_be_the_models() -> None:
    model = network()
    average = RampedEMA(model, update_buffers=False)
    for step in range(3):
        train_a_little(model, step)
        average.update_parameters(model)
    assert torch.equal(
        average.module.state_dict()["1.running_var"], model.state_dict()["1.running_var"]
    )
    assert not torch.equal(average.module.state_dict()["0.weight"], model.state_dict()["0.weight"])


def test_accumulated_iterations_count_once() -> None:
    """Three iterations make one step of the optimiser, at the last of them."""
    model = network()
    average = RampedEMA(model, ramp=5, interval=3)
    expected = [value.detach().clone() for value in model.parameters()]
    for step in range(6):
        for part in range(3):
            if part == 2:
                train_a_little(model, step)
            average.update_parameters(model)
        share = 0.9999 * (1 - math.exp(-(step + 1) / 5))
        for value, new in zip(expected, model.parameters(), strict=True):
            value.mul_(share).add_(new.detach(), alpha=1 - share)
    for value, got in zip(expected, average.module.parameters(), strict=True):
        torch.testing.assert_close(got, value)


def test_the_count_of_updates_is_saved() -> None:
    average = RampedEMA(network())
    average.update_parameters(network())
    other = RampedEMA(network())
    other.load_state_dict(average.state_dict())
    assert int(other.steps) == 1


def test_it_is_found_by_its_name() -> None:
    built = MODELS.build({"type": "mmattn.RampedEMA"}, default_args={"model": network()})
    assert isinstance(built, RampedEMA)


@pytest.mark.parametrize("wrong", [{"ramp": 0}, {"interval": 0}])
def test_wrong_numbers_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}=0"):
        RampedEMA(network(), **wrong)
