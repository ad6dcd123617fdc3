"""Promise: bytes kept for the backward pass are counted once and by whom they belong to."""

from __future__ import annotations

import torch
from torch import nn

from mmattn.training_memory import saved_for_backward


def test_bytes_are_those_of_the_tensors_that_autograd_keeps() -> None:
    x, layer = torch.ones(4, 8, requires_grad=True), nn.Linear(8, 2)
    owners = {"parameters": layer.parameters(), "input": [x]}
    # The product keeps x and the weight; tanh keeps its (4, 2) result.
    kept = saved_for_backward(lambda: torch.tanh(layer(x)), owners)
    assert kept == {"parameters": 2 * 8 * 4, "input": 4 * 8 * 4, "other": 4 * 2 * 4}


def test_a_storage_counts_once() -> None:
    x = torch.ones(8, requires_grad=True)
    assert saved_for_backward(lambda: (x.exp() ** 2).sum())["other"] == 8 * 4
