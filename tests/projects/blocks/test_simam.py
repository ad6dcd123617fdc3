"""Promise: SimAM is the paper's closed form, at every size."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mmattn.projects.blocks.simam import SimAM
from mmattn.testing.plugin import PluginTester


def by_energy(module: SimAM, x: Tensor) -> Tensor:
    """By the minimal energy e* of every value; a 1 x 1 feature map has no variance."""
    positions = x.shape[2] * x.shape[3]
    y = torch.empty_like(x)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            t = x[n, c]
            v = t.var() if positions > 1 else t.new_zeros(())
            regularised = v + module.regularisation
            energy = 4 * regularised / ((t - t.mean()) ** 2 + 2 * regularised)
            y[n, c] = t / (1 + torch.exp(-1 / energy))
    return y


class TestSimAM(PluginTester):
    module = SimAM
    state_keys = set()
    parameters = staticmethod(lambda c: 0)
    reference = staticmethod(by_energy)
    output_is_gated_input = True


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (3, 5)])
def test_a_constant_map_is_scaled_by_the_sigmoid_of_a_half(size: tuple[int, int]) -> None:
    x = torch.full((1, 2, *size), 3.0)
    torch.testing.assert_close(SimAM(2)(x), x / (1 + math.exp(-0.5)))


def test_what_stands_out_weighs_most() -> None:
    x = torch.ones(1, 1, 4, 4)
    x[0, 0, 1, 2] = 5.0
    gate = SimAM(1)(x) / x
    assert gate.argmax() == 1 * 4 + 2
    assert (gate >= 1 / (1 + math.exp(-0.5))).all()


def test_squares_do_not_overflow_in_float16() -> None:
    x = torch.tensor([[[[300.0, -300.0], [600.0, 0.0]]]]).half()
    torch.testing.assert_close(SimAM(1)(x), SimAM(1)(x.float()).half())


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="regularisation must be positive"):
        SimAM(8, regularisation=0)
