"""Promise: parameters and operations are counted as papers count them."""

from __future__ import annotations

import torch
from torch import nn

from mmattn.complexity import complexity, count_flops


def test_complexity_counts_two_operations_per_multiply_add() -> None:
    model = nn.Conv2d(3, 8, 3, padding=1)
    parameters, flops = complexity(model, torch.zeros(1, 3, 10, 12))
    assert parameters == 8 * 3 * 9 + 8
    assert flops == 2 * 10 * 12 * 8 * 3 * 9


def test_counting_without_computing_gives_the_same() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1))
    _, flops = complexity(model.eval(), torch.zeros(1, 3, 10, 12))
    assert count_flops(model.to("meta"), 1, 3, 10, 12) == flops > 0
