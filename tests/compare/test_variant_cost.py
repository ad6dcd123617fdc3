"""Costs against networks whose costs are known."""

from __future__ import annotations

import torch
from torch import nn

from mmattn.compare.statistics import median_difference
from mmattn.compare.variant_cost import interleaved, measure, peak_bytes, saved_bytes


class Linear(nn.Module):
    """A network with the calls of mmengine's models."""

    def __init__(self, width: int):
        super().__init__()
        self.layer = nn.Linear(8, width, bias=False)
        self.data_preprocessor = lambda data, training: data

    def forward(self, inputs: torch.Tensor, mode: str):
        y = self.layer(inputs).square()
        return {"loss": y.mean()} if mode == "loss" else y

    def parse_losses(self, losses: dict) -> tuple[torch.Tensor, dict]:
        return losses["loss"], losses


def test_peak_is_what_lives_at_once() -> None:
    """Three results of 1 MiB, of which two are there at a time."""
    x = torch.ones(2**18)

    def call() -> None:
        y = x + 1
        z = y + 1
        del y
        z + 1

    assert 2 * 2**20 <= peak_bytes(call) < 2 * 2**20 + 4096
    assert peak_bytes(call) == peak_bytes(call)


def test_parameters_flops_and_saved_bytes() -> None:
    batch = {"inputs": torch.randn(4, 8)}
    models = {"none": Linear(16), "wide": Linear(32)}
    costs = measure(models, batch, batch, rounds=3, step_rounds=2)
    for label, width in (("none", 16), ("wide", 32)):
        cost = costs[label]
        assert cost.parameters == 8 * width
        assert cost.flops == 2 * 4 * 8 * width
        # The input for the layer's gradient, the layer's output for the square's; and a scalar.
        assert 0 <= cost.saved - 4 * (4 * 8 + 4 * width) <= 16
        assert (len(cost.latency), len(cost.step)) == (3, 2)
        assert cost.peak_training > cost.peak_inference >= 4 * 4 * width
    assert saved_bytes(models["none"], batch) == costs["none"].saved


def test_variants_take_turns() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    times = interleaved(calls, rounds=3, warm_up=1)
    assert "".join(order) == "cab" + "abc" + "bca" + "cab"
    assert all(len(seconds) == 3 for seconds in times.values())


def test_rounds_are_pairs() -> None:
    """Rounds differ tenfold, the second network is always 1 slower."""
    base = [10.0, 100.0, 20.0, 50.0, 30.0]
    middle, (low, high) = median_difference([seconds + 1 for seconds in base], base)
    assert (middle, low, high) == (1.0, 1.0, 1.0)
